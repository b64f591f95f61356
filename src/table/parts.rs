//! A hash map split into shared parts, so that the next table copies one part and not a hundred thousand entries.

use hashbrown::HashTable;
use std::sync::Arc;

/// As many entries lie in one plain list: most hosts have a path or two, and a hash table for each would cost more
/// than its routes.
const FEW: usize = 8;
/// Entries a part holds on average before the number of parts doubles. One change copies about this many.
const PER_PART: usize = 64;
/// Parts at most: cloning the spine costs one reference count each.
const MAX_PARTS: usize = 4096;

/// Entries with their hashes.
type Part<T> = HashTable<(u64, T)>;

/// A persistent map from hash to `T`; the caller hashes and compares. Cloning is cheap; a changed clone shares all
/// parts but the one that changed.
#[derive(Clone, Debug)]
pub enum Parts<T> {
    /// One, as most hosts have: on the spot, for a list of it would be as large again.
    One(u64, T),
    /// Up to [`FEW`], in no order.
    Few(Arc<[(u64, T)]>),
    /// More than that; or once were.
    Many(Many<T>),
}

/// Entries in parts, by the upper half of their hash.
#[derive(Clone, Debug)]
pub struct Many<T> {
    parts: Arc<Vec<Arc<Part<T>>>>,
    len: usize,
}

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self::Few(Arc::default())
    }
}

impl<T: Clone> Parts<T> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        match self {
            Parts::One(..) => false,
            Parts::Few(few) => few.is_empty(),
            Parts::Many(many) => many.len == 0,
        }
    }

    /// The entry with this hash that `same` accepts.
    pub fn find(&self, hash: u64, mut same: impl FnMut(&T) -> bool) -> Option<&T> {
        let found = match self {
            Parts::One(other, entry) => return (*other == hash && same(entry)).then_some(entry),
            Parts::Few(few) => few.iter().find(|(other, entry)| *other == hash && same(entry)),
            Parts::Many(many) => many
                .parts
                .get(many.index(hash))?
                .find(hash, |(other, entry)| *other == hash && same(entry)),
        };
        found.map(|(_, entry)| entry)
    }

    /// Changes the entry that `same` accepts, or a new one from `fresh`; the entry goes if `change` answers false.
    pub fn update(
        &mut self,
        hash: u64,
        same: impl Fn(&T) -> bool,
        fresh: impl FnOnce() -> T,
        change: impl FnOnce(&mut T) -> bool,
    ) {
        let few = match self {
            Parts::Many(many) => return many.update(hash, same, fresh, change),
            Parts::One(other, entry) if *other == hash && same(entry) => {
                if !change(entry) {
                    *self = Self::default();
                }
                return;
            }
            Parts::One(other, one) => {
                let mut entry = fresh();
                if change(&mut entry) {
                    *self = Parts::Few(Arc::new([(*other, one.clone()), (hash, entry)]));
                }
                return;
            }
            Parts::Few(few) => few,
        };
        if let Some(at) = few.iter().position(|(other, entry)| *other == hash && same(entry)) {
            let stays = Arc::make_mut(few).get_mut(at).is_some_and(|(_, entry)| change(entry));
            if !stays {
                let others = few.iter().enumerate().filter(|(index, _)| *index != at);
                *few = others.map(|(_, entry)| entry.clone()).collect();
            }
            return;
        }
        let mut entry = fresh();
        if !change(&mut entry) {
            return;
        }
        if few.is_empty() {
            *self = Parts::One(hash, entry);
            return;
        }
        if few.len() < FEW {
            *few = few.iter().cloned().chain(std::iter::once((hash, entry))).collect();
            return;
        }
        let mut part = Part::new();
        for (hash, entry) in few.iter().cloned().chain(std::iter::once((hash, entry))) {
            part.insert_unique(hash, (hash, entry), |(hash, _)| *hash);
        }
        *self = Parts::Many(Many {
            len: part.len(),
            parts: Arc::new(vec![Arc::new(part)]),
        });
    }

    /// Every entry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let (one, few, many) = match self {
            Parts::One(_, entry) => (Some(entry), None, None),
            Parts::Few(few) => (None, Some(few), None),
            Parts::Many(many) => (None, None, Some(many)),
        };
        let few = few.into_iter().flat_map(|few| few.iter());
        let many = many
            .into_iter()
            .flat_map(|many| many.parts.iter())
            .flat_map(|part| part.iter());
        one.into_iter().chain(few.chain(many).map(|(_, entry)| entry))
    }
}

impl<T: Clone> Many<T> {
    fn index(&self, hash: u64) -> usize {
        // The inner table uses the low bits and the top seven; the part comes from between.
        (hash >> 32) as usize & (self.parts.len().wrapping_sub(1))
    }

    fn update(
        &mut self,
        hash: u64,
        same: impl Fn(&T) -> bool,
        fresh: impl FnOnce() -> T,
        change: impl FnOnce(&mut T) -> bool,
    ) {
        if self.len >= self.parts.len() * PER_PART {
            self.grow();
        }
        let index = self.index(hash);
        let Some(part) = Arc::make_mut(&mut self.parts).get_mut(index) else {
            return;
        };
        let part = Arc::make_mut(part);
        if let Ok(mut found) = part.find_entry(hash, |(other, entry)| *other == hash && same(entry)) {
            if !change(&mut found.get_mut().1) {
                found.remove();
                self.len -= 1;
            }
        } else {
            let mut entry = fresh();
            if change(&mut entry) {
                part.insert_unique(hash, (hash, entry), |(hash, _)| *hash);
                self.len += 1;
            }
        }
    }

    fn grow(&mut self) {
        let wanted = (self.parts.len() * 2).clamp(1, MAX_PARTS);
        if wanted == self.parts.len() {
            return;
        }
        let mut parts = vec![HashTable::new(); wanted];
        for part in self.parts.iter() {
            for (hash, entry) in part.iter() {
                let index = (*hash >> 32) as usize & (wanted - 1);
                if let Some(part) = parts.get_mut(index) {
                    part.insert_unique(*hash, (*hash, entry.clone()), |(hash, _)| *hash);
                }
            }
        }
        self.parts = Arc::new(parts.into_iter().map(Arc::new).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(value: u64) -> u64 {
        value.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn put(parts: &mut Parts<u64>, value: u64, keep: bool) {
        parts.update(hash(value), |other| *other == value, || value, |_| keep);
    }

    #[test]
    fn a_changed_clone_leaves_the_first_alone() {
        let mut first = Parts::default();
        for value in 0..1000 {
            put(&mut first, value, true);
        }
        let mut second = first.clone();
        put(&mut second, 7, false);
        put(&mut second, 5000, true);
        let has = |parts: &Parts<u64>, value: u64| parts.find(hash(value), |other| *other == value).is_some();
        assert!(has(&first, 7) && !has(&second, 7));
        assert!(!has(&first, 5000) && has(&second, 5000));
        assert_eq!((first.iter().count(), second.iter().count()), (1000, 1000));
        let (Parts::Many(first), Parts::Many(second)) = (&first, &second) else {
            panic!("a thousand are many")
        };
        let shared = first
            .parts
            .iter()
            .zip(second.parts.iter())
            .filter(|(a, b)| Arc::ptr_eq(a, b))
            .count();
        assert!(shared >= first.parts.len() - 2);
    }

    #[test]
    fn few_and_many_are_the_same_map() {
        let mut parts = Parts::default();
        let mut seed = 1_u64;
        let mut model = std::collections::BTreeSet::new();
        for step in 0..4000_u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Up to twelve at first, then three hundred, then twelve again.
            let value = (seed >> 33) % if step / 1000 == 1 { 300 } else { 12 };
            let keep = seed >> 60 < 8;
            put(&mut parts, value, keep);
            if keep {
                model.insert(value);
            } else {
                model.remove(&value);
            }
            let mut found: Vec<u64> = parts.iter().copied().collect();
            found.sort_unstable();
            assert_eq!(found, model.iter().copied().collect::<Vec<_>>(), "step {step}");
            assert_eq!(parts.is_empty(), model.is_empty());
            assert_eq!(parts.find(hash(value), |other| *other == value).is_some(), keep);
        }
    }
}
