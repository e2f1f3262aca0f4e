//! How often the store in a folder waits for the disk, and what a slow disk does to the 202.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use cpm_testbed::{Bench, preloaded};

use super::super::Running;
use super::super::contestant::Contestant;
use super::super::sink::{Recipients, Sink};
use super::cost::{SENDERS, take_turn};
use super::{Store, config, written};
use crate::report::{Sample, Samples, Table};

const NAME: &str = "file, lane";
const SIZE: usize = 10;
/// How much longer each sync takes.
const DELAYS_US: [u64; 2] = [0, 2_000];
/// With each of them, for each number of senders.
const MEDIAN_OF: [[&str; 3]; 2] = [
    [
        "ms until 202 on this disk, 1 sender",
        "ms until 202 on this disk, 16 senders",
        "ms until 202 on this disk, 64 senders",
    ],
    [
        "ms until 202 on a disk 2 ms slower, 1 sender",
        "ms until 202 on a disk 2 ms slower, 16 senders",
        "ms until 202 on a disk 2 ms slower, 64 senders",
    ],
];
const SYNCS_OF: [[&str; 3]; 2] = [
    [
        "syncs per message on this disk, 1 sender",
        "syncs per message on this disk, 16 senders",
        "syncs per message on this disk, 64 senders",
    ],
    [
        "syncs per message on a disk 2 ms slower, 1 sender",
        "syncs per message on a disk 2 ms slower, 16 senders",
        "syncs per message on a disk 2 ms slower, 64 senders",
    ],
];

/// Messages of each turn.
const MESSAGES: usize = 640;

/// What each sync is passed through: how long it takes is set, and how many there were is read.
struct Disk {
    library: PathBuf,
    path: PathBuf,
    file: File,
}

impl Disk {
    fn new(folder: &Path) -> Self {
        let source = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/fan_out/stored/slow_disk.c"
        );
        let library = preloaded(source.as_ref(), folder);
        let path = folder.join("disk");
        fs::write(&path, [0; 16]).expect("the bench's folder can be written to");
        let file = File::options().read(true).write(true).open(&path);
        Disk {
            library,
            path,
            file: file.expect("it is there"),
        }
    }

    fn set_delay_us(&self, us: u64) {
        let written = self.file.write_all_at(&us.to_ne_bytes(), 0);
        written.expect("it is open");
    }

    fn syncs(&self) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, 8).expect("it is open");
        u64::from_ne_bytes(bytes)
    }
}

pub(super) fn measure(cpm: &Path, rounds: usize, samples: &mut Samples) {
    let bench = Bench::new("benches_disk");
    let disk = Disk::new(bench.folder());
    let sink = Sink::start(bench.port(), Recipients::OneHop).expect("it has a port of its own");
    let config = config(&bench, cpm, NAME, "auto", Store::Folder(NAME))
        .variable("LD_PRELOAD", &disk.library.display().to_string())
        .variable("CPM_DISK", &disk.path.display().to_string());
    let running = Running::start(&bench, Contestant { name: NAME, config });
    for round in 0..=rounds {
        for (slow, delay_us) in DELAYS_US.into_iter().enumerate() {
            disk.set_delay_us(delay_us);
            for (place, senders) in SENDERS.into_iter().enumerate() {
                let before = disk.syncs();
                let turn = take_turn(&running, &sink, (senders, SIZE), MESSAGES / senders);
                let syncs = (disk.syncs() - before) as f64 / MESSAGES as f64;
                let values = [
                    (MEDIAN_OF[slow][place], turn.median_ms),
                    (SYNCS_OF[slow][place], syncs),
                ];
                for (quantity, value) in values.into_iter().filter(|_| round > 0) {
                    samples.push(Sample {
                        size: SIZE,
                        contestant: NAME,
                        round: round - 1,
                        quantity,
                        value,
                    });
                }
            }
        }
    }
    running.proxy.stop();
}

pub(super) fn write_text(samples: &Samples) -> String {
    let mut table = Table::new(&[NAME, "1 sender", "16 senders", "64 senders"]);
    let rows = [
        ("syncs per message", SYNCS_OF[0]),
        ("ms until 202", MEDIAN_OF[0]),
        ("syncs per message, each 2 ms longer", SYNCS_OF[1]),
        ("ms until 202, each sync 2 ms longer", MEDIAN_OF[1]),
    ];
    for (head, quantities) in rows {
        let cells = quantities.map(|quantity| written(&samples.of(SIZE, NAME, quantity)));
        table.row([head.to_owned()].into_iter().chain(cells));
    }
    format!(
        "Messages to {SIZE}, as fast as they can:\n\n{}",
        table.write()
    )
}
