//! Whether the process is near the end of its memory: then most requests are refused, which is better than to be
//! killed with all of them.

use super::heap::Heap;
use crate::config::MaxMemory;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often it is looked at.
const PAUSE: Duration = Duration::from_millis(250);
/// Below this part of the limit all is well again: else it would flap.
const WELL: (u64, u64) = (15, 16);

/// Where control groups are (cgroup v2).
const GROUPS: &str = "/sys/fs/cgroup";

/// A limit, and how what counts against it is known.
#[derive(Debug, PartialEq, Eq)]
pub struct MemoryWatch {
    limit: u64,
    /// The control group whose limit it is.
    group: Option<PathBuf>,
}

impl MemoryWatch {
    /// What the flag means here; none where there is no limit.
    pub fn new(limit: MaxMemory) -> Option<Self> {
        match limit {
            MaxMemory::Off => None,
            MaxMemory::Bytes(limit) => Some(Self { limit, group: None }),
            MaxMemory::Percent(percent) => {
                let group = own_group(&fs::read_to_string("/proc/self/cgroup").ok()?)?;
                Self::of_group(Path::new(GROUPS), &group, percent)
            }
        }
    }

    /// The tightest limit of a group and those it is in.
    fn of_group(root: &Path, group: &str, percent: u8) -> Option<Self> {
        let own = root.join(group.trim_start_matches('/'));
        let groups = own.ancestors().take_while(|path| path.starts_with(root));
        let limits = groups.filter_map(|path| Some((number(&path.join("memory.max"))?, path)));
        let (most, group) = limits.min_by_key(|(most, _)| *most)?;
        Some(Self {
            limit: most / 100 * u64::from(percent),
            group: Some(group.to_owned()),
        })
    }

    /// Bytes that count against the limit: what is in use. Neither what the allocator has not given back yet counts, nor
    /// what the kernel keeps of files and may drop.
    fn used(&self, heap: Option<Heap>) -> Option<u64> {
        let Some(group) = &self.group else {
            return heap.map(|heap| heap.allocated).or_else(resident);
        };
        let current = number(&group.join("memory.current"))?;
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let cached = stat.lines().find_map(|line| line.strip_prefix("inactive_file "));
        let cached = cached.and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        let idle = heap.map_or(0, |heap| heap.idle);
        Some(current.saturating_sub(cached).saturating_sub(idle))
    }

    /// Keeps `short` true as long as memory is. Never ends.
    pub async fn run(self, short: Arc<AtomicBool>) {
        let mut looks = tokio::time::interval(PAUSE);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let Some(used) = self.used(Heap::read()) else { continue };
            let was = short.load(Ordering::Relaxed);
            let is = self.is_short(was, used);
            if is != was {
                short.store(is, Ordering::Relaxed);
                let limit = self.limit;
                if is {
                    tracing::warn!(
                        used,
                        limit,
                        "narthex uses more memory than --max-memory allows: most requests get 503 until it uses less"
                    );
                } else {
                    tracing::info!(used, limit, "memory use is below --max-memory again");
                }
            }
        }
    }

    fn is_short(&self, was: bool, used: u64) -> bool {
        used >= if was { self.limit / WELL.1 * WELL.0 } else { self.limit }
    }
}

/// The path of the process's group: the line of the one hierarchy (`0::/path`).
fn own_group(text: &str) -> Option<String> {
    text.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .map(str::to_owned)
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// What of the process is in memory, in bytes (proc(5), `statm`).
pub fn resident() -> Option<u64> {
    let pages: u64 = fs::read_to_string("/proc/self/statm")
        .ok()?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_limit_of_the_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let pod = root.path().join("pod");
        let container = pod.join("container");
        fs::create_dir_all(&container).unwrap();
        let groups = "1:cpu:/x\n0::/pod/container\n";
        let group = own_group(groups).unwrap();
        assert_eq!(MemoryWatch::of_group(root.path(), &group, 90), None);
        fs::write(container.join("memory.max"), "max\n").unwrap();
        assert_eq!(MemoryWatch::of_group(root.path(), &group, 90), None);
        fs::write(pod.join("memory.max"), "1000\n").unwrap();
        fs::write(pod.join("memory.current"), "900\n").unwrap();
        fs::write(pod.join("memory.stat"), "anon 1\ninactive_file 100\n").unwrap();
        let watch = MemoryWatch::of_group(root.path(), &group, 90).unwrap();
        let heap = Heap {
            allocated: 500,
            idle: 30,
        };
        assert_eq!(watch.limit, 900);
        assert_eq!((watch.used(None), watch.used(Some(heap))), (Some(800), Some(770)));
        let watch = MemoryWatch {
            limit: 900,
            group: None,
        };
        assert_eq!(watch.used(Some(heap)), Some(500));
        fs::write(container.join("memory.max"), "500\n").unwrap();
        assert_eq!(MemoryWatch::of_group(root.path(), &group, 50).unwrap().limit, 250);
    }

    #[test]
    fn what_was_short_is_so_until_there_is_some_room() {
        let watch = MemoryWatch {
            limit: 1600,
            group: None,
        };
        assert!(!watch.is_short(false, 1599) && watch.is_short(false, 1600));
        assert!(watch.is_short(true, 1500) && !watch.is_short(true, 1499));
        assert!(resident().unwrap() > 1 << 20);
    }
}
