// SPDX-License-Identifier: GPL-2.0-or-later
// For LD_PRELOAD with Debian's GROMACS 2025: the CPU has rdtscp, whatever CPUID
// says. Calls are by name, since only the beginning of CpuInfo is needed here.
#include <dlfcn.h>
#include <set>
#include <string>

struct Info {
	int level, vendor;
	std::string brand;
	int family, model, stepping;
	std::set<int> features;
};

template <typename F> static F *named(const char *name)
{
	return reinterpret_cast<F *>(dlsym(RTLD_NEXT, name));
}

// gmx::CpuInfo::detect(); what it returns is where its first argument points.
extern "C" Info *_ZN3gmx7CpuInfo6detectEv(Info *info)
{
	auto text = named<const std::string &(int)>("_ZN3gmx7CpuInfo13featureStringB5cxx11ENS0_7FeatureE");

	named<Info *(Info *)>("_ZN3gmx7CpuInfo6detectEv")(info);
	for (int feature : std::set<int>(info->features))
		if (text(feature) == "popcnt")
			// Its neighbours in alphabetical order are pse, rdrnd and rdtscp.
			for (int n = feature; n < feature + 5; n++)
				if (text(n) == "rdtscp")
					info->features.insert(n);
	return info;
}
