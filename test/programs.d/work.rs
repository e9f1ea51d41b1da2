// SPDX-License-Identifier: GPL-2.0-or-later
// work UNITS: threads that are given work and answer through channels, a lock
// and a condition that they share, sleeps.
use std::collections::BTreeMap;
use std::sync::{mpsc, Arc, Condvar, Mutex};
use std::{env, thread, time::Duration};

fn mix(mut x: u64) -> u64 {
    for _ in 0..2_000_000 {
        x = (x ^ x >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    x
}

fn main() {
    let units: u64 = env::args().nth(1).unwrap().parse().unwrap();
    let shared = Arc::new((Mutex::new(BTreeMap::new()), Condvar::new()));
    let mut workers = Vec::new();
    let (answer, answers) = mpsc::channel();
    for w in 0..8 {
        let (send, receive) = mpsc::channel::<u64>();
        let (answer, shared) = (answer.clone(), shared.clone());
        let handle = thread::spawn(move || {
            for unit in receive {
                let x = mix(unit * 8 + w);
                let (map, changed) = &*shared;
                map.lock().unwrap().insert((unit, w), x);
                changed.notify_all();
                answer.send(x).unwrap();
            }
        });
        workers.push((send, handle));
    }
    for unit in 0..units {
        for (send, _) in &workers {
            send.send(unit).unwrap();
        }
        let sum = answers.iter().take(8).fold(0u64, u64::wrapping_add);
        let (map, changed) = &*shared;
        let full = |m: &mut BTreeMap<_, _>| m.len() < 8 * (unit as usize + 1);
        let map = changed.wait_while(map.lock().unwrap(), full).unwrap();
        let all = map.values().fold(0u64, |a, x| a.rotate_left(7) ^ x);
        println!("{unit} {sum:016x} {all:016x}");
        drop(map);
        thread::sleep(Duration::from_millis(150));
    }
    for (send, handle) in workers {
        drop(send);
        handle.join().unwrap();
    }
}
