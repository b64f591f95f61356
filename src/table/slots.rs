//! Things by slot, in shared chunks: the next table copies one chunk and not all of them.

use std::sync::Arc;

/// How many things a shared chunk holds.
const CHUNK: usize = 128;

/// What lies in a slot, and knows its own identity.
pub trait Placed {
    /// A slot and a generation: a slot is used again, with another generation.
    type Id: Copy + PartialEq;

    /// Its identity.
    fn id(&self) -> Self::Id;

    /// The slot of an identity.
    fn slot(id: Self::Id) -> usize;
}

/// Neighbouring slots.
type Chunk<T> = Vec<Option<Arc<T>>>;

/// Things by slot.
#[derive(Debug)]
pub struct Slots<T> {
    chunks: Arc<Vec<Arc<Chunk<T>>>>,
}

impl<T> Clone for Slots<T> {
    fn clone(&self) -> Self {
        Self {
            chunks: self.chunks.clone(),
        }
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { chunks: Arc::default() }
    }
}

impl<T: Placed> Slots<T> {
    /// The thing of this very identity.
    pub fn get(&self, id: T::Id) -> Option<&Arc<T>> {
        let slot = T::slot(id);
        self.chunks
            .get(slot / CHUNK)?
            .get(slot % CHUNK)?
            .as_ref()
            .filter(|placed| placed.id() == id)
    }

    /// Puts a thing in its slot, or empties the slot.
    pub fn set(&mut self, slot: u32, thing: Option<Arc<T>>) {
        let slot = slot as usize;
        let chunks = Arc::make_mut(&mut self.chunks);
        while chunks.len() <= slot / CHUNK {
            chunks.push(Arc::new(vec![None; CHUNK]));
        }
        if let Some(chunk) = chunks.get_mut(slot / CHUNK)
            && let Some(place) = Arc::make_mut(chunk).get_mut(slot % CHUNK)
        {
            *place = thing;
        }
    }

    /// Whether these are the very same things, because neither has changed since one was cloned from the other.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chunks, &other.chunks)
    }

    /// Everything, by slot.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().flatten())
    }
}
