//! The memory that all encoders of the process share.

use super::encoder::memory;
use crate::table::Coding;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A bound on memory. Shards share it, since a share of it would be too little for an encoder where there are many;
/// only replies that are compressed touch it.
#[derive(Debug)]
pub struct Memory {
    most: usize,
    taken: AtomicUsize,
}

impl Memory {
    /// So many bytes.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            taken: AtomicUsize::new(0),
        }
    }

    /// Room for an encoder of this coding, if there is as much left.
    pub fn room(self: &Arc<Self>, coding: Coding) -> Option<MemoryPermit> {
        let bytes = memory(coding);
        // Nothing else is read or written by what this says, so the order does not matter.
        let add = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.most);
        let had = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        had.is_ok().then(|| MemoryPermit {
            memory: self.clone(),
            bytes,
        })
    }
}

/// Memory for one encoder, until dropped.
#[derive(Debug)]
pub struct MemoryPermit {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        self.memory.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
