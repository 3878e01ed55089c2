use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// Changed seeds of each target: a second or two in all.
const CHANGED: usize = 400;

fn seeds(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds").join(target.name);
    let mut paths: Vec<PathBuf> = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has a seed", target.name);
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// The same numbers every time (Marsaglia's xorshift): what fails once fails again.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % end.max(1)
    }
}

fn changed(seed: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(bytes.len());
        match numbers.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.splice(at..at, [*b"\"{}[]:,0-~\0\xff".get(numbers.below(12)).unwrap()]).for_each(drop),
            2 => bytes.drain(at..(at + numbers.below(9)).min(bytes.len())).for_each(drop),
            3 => {
                let from = numbers.below(other.len());
                let piece = &other[from..(from + numbers.below(40)).min(other.len())];
                bytes.splice(at..at, piece.iter().copied()).for_each(drop);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << numbers.below(8);
                }
            }
        }
    }
    bytes
}

#[test]
fn seeds_and_what_is_near_them_break_no_reader() {
    for target in TARGETS {
        let seeds = seeds(target);
        for (path, bytes) in &seeds {
            eprintln!("{}", path.display());
            (target.run)(bytes);
        }
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        for index in 0..CHANGED {
            let (seed, other) = (&seeds[index % seeds.len()].1, &seeds[numbers.below(seeds.len())].1);
            let bytes = changed(seed, other, &mut numbers);
            eprintln!("{}: {:?}", target.name, String::from_utf8_lossy(&bytes));
            (target.run)(&bytes);
        }
    }
}

#[test]
fn every_target_is_found_by_its_name_and_every_seed_has_a_target() {
    assert!(TARGETS.iter().all(|target| Target::find(target.name).is_some()));
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds");
    for entry in fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(Target::find(&name).is_some(), "{name}");
    }
}
