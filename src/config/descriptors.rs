//! Who may have how many file descriptors.

/// Kept for watches, logs and the admin side; but no more than half of all.
const RESERVED: usize = 256;

/// What connections may have, of all that the process may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Connections of clients.
    pub clients: usize,
    /// Connections to pods, idle or not.
    pub pods: usize,
}

impl Shares {
    /// `asked` is `--max-connections`, where 0 leaves it to us.
    pub fn of(descriptors: usize, asked: usize) -> Self {
        let free = descriptors - RESERVED.min(descriptors / 2);
        let clients = match asked {
            0 => free / 2,
            // What the kernel will not open cannot be accepted, and pods want some too.
            asked => asked.min(free / 4 * 3),
        }
        .max(1);
        let pods = free.saturating_sub(clients).max(1);
        Self { clients, pods }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_something_for_everybody() {
        let of = |descriptors, asked| {
            let Shares { clients, pods } = Shares::of(descriptors, asked);
            assert!(clients + pods <= descriptors.max(2), "{descriptors} {asked}");
            (clients, pods)
        };
        assert_eq!(of(1 << 20, 0), (524_160, 524_160));
        assert_eq!(of(64, 0), (16, 16));
        assert_eq!(of(1024, 100), (100, 668));
        assert_eq!(of(1024, 1 << 20), (576, 192));
        assert_eq!(of(0, 0), (1, 1));
    }
}
