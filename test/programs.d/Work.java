// SPDX-License-Identifier: GPL-2.0-or-later
// Work UNITS: threads, garbage, and a file that NIO maps; prints digests.
import java.nio.*;
import java.nio.channels.FileChannel;
import java.nio.file.*;
import java.security.MessageDigest;
import java.util.*;
import java.util.concurrent.*;

public class Work {
	static final int SIZE = 1 << 20;

	static long part(int unit, int n) {
		Random random = new Random(unit * 100L + n);
		TreeMap<String, Long> map = new TreeMap<>();
		for (int i = 0; i < 40000; i++)
			map.merge(Integer.toString(random.nextInt(5000)), (long) i, (a, b) -> a * 31 + b);
		long sum = 0;
		for (var e : map.entrySet())
			sum = sum * 17 + e.getKey().hashCode() + e.getValue();
		return sum;
	}

	public static void main(String[] args) throws Exception {
		ExecutorService pool = Executors.newFixedThreadPool(4);
		MessageDigest digest = MessageDigest.getInstance("SHA-256");
		try (FileChannel file = FileChannel.open(Path.of("mapped"), StandardOpenOption.CREATE,
				StandardOpenOption.READ, StandardOpenOption.WRITE)) {
			MappedByteBuffer map = file.map(FileChannel.MapMode.READ_WRITE, 0, SIZE);
			for (int unit = 0; unit < Integer.parseInt(args[0]); unit++) {
				List<Future<Long>> parts = new ArrayList<>();
				for (int n = 0; n < 8; n++) {
					int u = unit, k = n;
					parts.add(pool.submit(() -> part(u, k)));
				}
				for (int n = 0; n < 8; n++)
					map.putLong(((unit * 8 + n) * 808 % SIZE) & ~7, parts.get(n).get());
				digest.update(map.duplicate().clear());
				System.out.println(unit + " " + HexFormat.of().formatHex(((MessageDigest) digest.clone()).digest()));
				Thread.sleep(250);
			}
		}
		pool.shutdown();
	}
}
