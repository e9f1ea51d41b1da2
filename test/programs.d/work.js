// SPDX-License-Identifier: GPL-2.0-or-later
// work.js UNITS: worker threads, files by promises, timers; prints digests.
const crypto = require("crypto"), fs = require("fs");
const { Worker, isMainThread, parentPort } = require("worker_threads");

function worker() {
	let state = "";
	parentPort.on("message", (n) => {
		for (let i = 0; i < 20000; i++)
			state = crypto.createHash("sha256").update(state + n + i).digest("hex");
		parentPort.postMessage(state);
	});
}

async function main(units) {
	const workers = [1, 2].map(() => new Worker(__filename));
	for (let unit = 0; unit < units; unit++) {
		const answers = await Promise.all(workers.map((w, i) => new Promise((done) => {
			w.once("message", done);
			w.postMessage(unit * 2 + i);
		})));
		await fs.promises.writeFile("state", answers.join("\n") + unit);
		console.log(unit, answers.join(" "), (await fs.promises.readFile("state")).length);
		await new Promise((done) => setTimeout(done, 250));
	}
	for (const w of workers)
		await w.terminate();
}

isMainThread ? main(Number(process.argv[2])) : worker();
