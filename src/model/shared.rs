//! One copy of texts that many objects have: the name of a namespace, of a Service, of a host, the key of an annotation.

use foldhash::fast::FixedState;
use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::Arc;

/// How many texts a thread remembers. A new one takes the place of an older one.
const MOST: usize = 4096;

/// The longest that is remembered: as long as a DNS name may be.
const LONGEST: usize = 253;

const HASHER: FixedState = FixedState::with_seed(0x6e61_6d65_7320);

thread_local! {
    /// Texts by their hash, each in the only place it can have.
    static KNOWN: RefCell<Vec<Option<Arc<str>>>> = const { RefCell::new(Vec::new()) };
}

/// A text, which shares its memory with an equal one that this thread was asked for not long ago.
pub fn shared(text: &str) -> Arc<str> {
    if text.is_empty() {
        return Arc::default();
    }
    if text.len() > LONGEST {
        return text.into();
    }
    KNOWN.with_borrow_mut(|known| {
        known.resize(MOST, None);
        let at = HASHER.hash_one(text) % MOST as u64;
        match usize::try_from(at).ok().and_then(|at| known.get_mut(at)) {
            Some(Some(known)) if **known == *text => known.clone(),
            Some(place) => place.insert(text.into()).clone(),
            None => text.into(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one() {
        let first = shared("default");
        assert!(Arc::ptr_eq(&first, &shared("default")));
        assert_eq!(&*shared("other"), "other");
        let long = "a".repeat(LONGEST + 1);
        assert!(!Arc::ptr_eq(&shared(&long), &shared(&long)));
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        for index in 0..3 * MOST {
            assert_eq!(*shared(&index.to_string()), *index.to_string());
        }
        assert_eq!(KNOWN.with_borrow(Vec::len), MOST);
    }
}
