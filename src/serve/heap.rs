//! What the program's own allocator holds. jemalloc keeps what was freed for a while, so what the kernel counts as
//! resident is more than what is in use.

#[cfg(feature = "jemalloc")]
use tikv_jemalloc_ctl::{background_thread, epoch, stats};

/// What the allocator says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heap {
    /// Bytes the program has allocated and not freed.
    pub allocated: u64,
    /// Bytes that are resident but in no use: the allocator gives them back after a few seconds.
    pub idle: u64,
}

impl Heap {
    /// Asks the allocator. Absent where it cannot say.
    #[cfg(feature = "jemalloc")]
    pub fn read() -> Option<Self> {
        // The numbers are a snapshot, which this renews.
        epoch::advance().ok()?;
        let active = stats::active::read().ok()?;
        let resident = stats::resident::read().ok()?;
        Some(Self {
            allocated: stats::allocated::read().ok()? as u64,
            idle: resident.saturating_sub(active) as u64,
        })
    }

    /// The system's allocator does not say.
    #[cfg(not(feature = "jemalloc"))]
    pub fn read() -> Option<Self> {
        None
    }
}

/// Has threads of the allocator's own give freed memory back to the system. Without them a thread gives back only what
/// it freed itself, and only when it allocates again: one that reads a large manifest and then sleeps keeps all of it.
///
/// # Errors
/// When the allocator was built without them.
#[cfg(feature = "jemalloc")]
pub fn give_back() -> Result<(), String> {
    background_thread::write(true).map_err(|error| error.to_string())
}

/// The system's allocator decides for itself.
///
/// # Errors
/// None.
#[cfg(not(feature = "jemalloc"))]
pub fn give_back() -> Result<(), String> {
    Ok(())
}
