//! What a disk has after a loss of power: of each file what its last sync has left, and any of the
//! 4 KiB pages that were written since; of each folder the names of its last sync, and any of the
//! changes since.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use cpm_testbed::{Bench, ProxyConfig, preloaded};
use fastrand::Rng;

use crate::storing::folder;

const PAGE: usize = 4_096;
/// The store's folder among the files.
const ROOT: u64 = 0;
/// The beginning of a record, as recorded_disk.c has it: kind, bytes that follow, file, place.
const HEAD: usize = 24;

/// A proxy's disk, of which is written down what becomes of the store's files.
pub(super) struct RecordedDisk {
    library: PathBuf,
    record: PathBuf,
    folder: PathBuf,
}

impl RecordedDisk {
    pub(super) fn new(bench: &Bench) -> Self {
        let source = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/e2e/kamailio/store/recorded_disk.c"
        );
        RecordedDisk {
            library: preloaded(source.as_ref(), bench.folder()),
            record: bench.folder().join("record"),
            folder: folder(bench),
        }
    }

    pub(super) fn of(&self, config: &ProxyConfig) -> ProxyConfig {
        config
            .clone()
            .variable("LD_PRELOAD", &self.library.display().to_string())
            .variable("CPM_RECORD", &self.record.display().to_string())
            .variable("CPM_FOLDER", &self.folder.display().to_string())
    }

    /// How much is written down so far: what is done later comes behind it.
    pub(super) fn now(&self) -> usize {
        let record = fs::metadata(&self.record).expect("the proxy has begun it");
        record.len().try_into().expect("it fits in memory")
    }

    /// All of it, once the proxy has gone.
    pub(super) fn record(&self) -> Record {
        Record(fs::read(&self.record).expect("the proxy has begun it"))
    }
}

/// What was done, in order.
pub(super) struct Record(Vec<u8>);

/// Whether the disk keeps its word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Syncs {
    Kept,
    /// Nothing is on disk because of a sync: what a test finds then shows that it can find it.
    Ignored,
}

enum What<'a> {
    Written { offset: usize, bytes: &'a [u8] },
    Cut { size: usize },
    Synced { begun: usize },
    Names { names: Names },
}

/// Id of each file, and whether it is a folder, by its name.
type Names = HashMap<String, (u64, bool)>;

#[derive(Default)]
struct Lasting {
    bytes: Vec<u8>,
    /// With their places in the record.
    since: Vec<(usize, Change)>,
}

enum Change {
    Page(usize, Vec<u8>),
    Size(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Size(size) => bytes.resize(*size, 0),
            Change::Page(offset, page) => {
                let end = offset + page.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset..end].copy_from_slice(page);
            }
        }
    }
}

#[derive(Default)]
struct Files {
    files: HashMap<u64, Lasting>,
    names: HashMap<u64, Names>,
}

impl Record {
    /// Writes what is left if the power fails when so much was written down.
    pub(super) fn leave(&self, at: usize, syncs: Syncs, random: &mut Rng, folder: &Path) {
        let mut now = Files::default();
        let mut later: HashMap<u64, Names> = HashMap::new();
        let mut place = 0;
        while let Some((file, what, next)) = read(&self.0, place) {
            if next > at {
                // What a folder's next sync would have left may be there already.
                if let What::Names { names, .. } = what {
                    later.entry(file).or_insert(names);
                }
            } else {
                now.take(file, what, place, syncs);
            }
            place = next;
        }
        now.change_names(later, random);
        let _ = fs::remove_dir_all(folder);
        now.write(ROOT, folder, random);
    }
}

impl Files {
    fn take(&mut self, id: u64, what: What<'_>, place: usize, syncs: Syncs) {
        let file = self.files.entry(id).or_default();
        match what {
            What::Written { offset, bytes } => {
                for (offset, page) in pages(offset, bytes) {
                    file.since
                        .push((place, Change::Page(offset, page.to_vec())));
                }
            }
            What::Cut { size } => file.since.push((place, Change::Size(size))),
            What::Synced { begun } if syncs == Syncs::Kept => {
                let synced = file.since.partition_point(|(place, _)| *place < begun);
                for (_, change) in file.since.drain(..synced) {
                    change.apply(&mut file.bytes);
                }
            }
            What::Names { names, .. } => {
                self.names.insert(id, names);
            }
            What::Synced { .. } => {}
        }
    }

    /// Of what a folder's next sync would have changed, any part has been.
    fn change_names(&mut self, later: HashMap<u64, Names>, random: &mut Rng) {
        let known: HashSet<u64> = self.files.keys().copied().collect();
        for (folder, later) in later {
            let names = self.names.entry(folder).or_default();
            names.retain(|name, _| later.contains_key(name) || random.bool());
            for (name, (id, is_folder)) in later {
                // Not what has been made since.
                if known.contains(&id) && random.bool() {
                    names.entry(name).or_insert((id, is_folder));
                }
            }
        }
    }

    fn write(&self, id: u64, folder: &Path, random: &mut Rng) {
        fs::create_dir(folder).expect("the bench's folder can be written to");
        for (name, (id, is_folder)) in self.names.get(&id).into_iter().flatten() {
            let path = folder.join(name);
            if *is_folder {
                self.write(*id, &path, random);
                continue;
            }
            let file = self.files.get(id);
            let mut bytes = file.map_or(Vec::new(), |file| file.bytes.clone());
            for (_, change) in file.into_iter().flat_map(|file| &file.since) {
                if random.bool() {
                    change.apply(&mut bytes);
                }
            }
            fs::write(path, bytes).expect("the bench's folder can be written to");
        }
    }
}

/// The parts of this that are in different pages.
fn pages(offset: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let first = bytes.len().min(PAGE - offset % PAGE);
    let (first, others) = bytes.split_at(first);
    let begin = offset + first.len();
    let others = others.chunks(PAGE).enumerate();
    let others = others.map(move |(number, page)| (begin + number * PAGE, page));
    std::iter::once((offset, first)).chain(others)
}

/// The entry at this place of the record, if it is whole, and the place of the next one.
fn read(record: &[u8], place: usize) -> Option<(u64, What<'_>, usize)> {
    let head = record.get(place..place + HEAD)?;
    let number = |from: usize| u32::from_ne_bytes(head[from..from + 4].try_into().expect("four"));
    let long = |from: usize| u64::from_ne_bytes(head[from..from + 8].try_into().expect("eight"));
    let size = |number: u64| usize::try_from(number).expect("it fits in memory");
    let next = place + HEAD + number(4) as usize;
    let bytes = record.get(place + HEAD..next)?;
    let place = size(long(16));
    let what = match number(0) {
        1 => What::Written {
            offset: place,
            bytes,
        },
        2 => What::Cut { size: place },
        3 => What::Synced { begun: place },
        4 => What::Names {
            names: names(bytes),
        },
        other => panic!("{other} is nothing that a disk does"),
    };
    Some((long(8), what, next))
}

fn names(mut bytes: &[u8]) -> Names {
    let mut names = Names::new();
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let end = rest.iter().position(|byte| *byte == 0);
        let (name, rest) = rest.split_at(end.expect("a name has an end"));
        let id = u64::from_ne_bytes(head[..8].try_into().expect("eight"));
        let name = String::from_utf8(name.to_vec()).expect("text");
        names.insert(name, (id, head[8] != 0));
        bytes = &rest[1..];
    }
    names
}
