//! Runs all committed inputs in every build: those that found a fault, and those with good
//! coverage. Also runs random scripts for the machines, the same ones each time.

use std::fs;
use std::path::Path;

#[test]
fn no_committed_input_finds_anything() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in crate::TARGETS {
        let folder = corpus.join(name);
        let inputs = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let mut count = 0;
        for input in inputs {
            let path = input.expect("the folder can be read").path();
            let bytes = fs::read(&path).expect("the input can be read");
            // Shows its name if it panics.
            eprintln!("{}", path.display());
            target(&bytes);
            count += 1;
        }
        assert!(count > 0, "{name} has no input");
    }
}

/// The machines, whose inputs are scripts: nearly every script is meaningful.
const MACHINES: [&str; 6] = [
    "client", "express", "fan_out", "mailbox", "session", "sessions",
];
const SCRIPTS: u64 = 40;

#[test]
fn random_scripts_find_nothing() {
    for name in MACHINES {
        let (_, target) = crate::TARGETS
            .iter()
            .find(|(known, _)| *known == name)
            .expect("a target");
        for seed in 1..=SCRIPTS {
            let mut state = seed;
            let mut next = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes()
            };
            let words = 1 + usize::from(next()[0]) / 4;
            let script: Vec<u8> = (0..words).flat_map(|_| next()).collect();
            // Shows its name if it panics.
            eprintln!("{name} {seed}");
            target(&script);
        }
    }
}
