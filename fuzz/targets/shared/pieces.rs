//! Inputs that say how their bytes are cut.

/// The bytes, and the sizes of the pieces they come in, less one: the last byte says how many sizes stand before it.
pub fn split(data: &[u8]) -> (&[u8], &[u8]) {
    let Some((count, rest)) = data.split_last() else {
        return (data, &[]);
    };
    rest.split_at(rest.len() - usize::from(count % 8).min(rest.len()))
}
