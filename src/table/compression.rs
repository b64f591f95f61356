//! What a route says about compressing its replies, as data. Behaviour is in `policy`.

/// A content coding that replies can be given (RFC 9110, section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// `zstd` (RFC 8878).
    Zstd,
    /// `br` (RFC 7932).
    Brotli,
    /// `gzip` (RFC 1952).
    Gzip,
}

impl Coding {
    /// All of them, in the order in which they are offered where nothing else is said: what costs the least CPU for
    /// its size first (docs/compression.md has the numbers).
    pub const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    /// Its name in `Accept-Encoding` and `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
        }
    }
}

/// That replies are compressed for clients that take it, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Compression {
    /// What is offered, each once. The first decides where a client likes several equally well.
    pub codings: Box<[Coding]>,
    /// The least size worth it, in bytes, where a reply says its size.
    pub least: u64,
}

impl Compression {
    /// Less than this fits into the packet that the head is in, so that it arrives no sooner when it is smaller.
    pub const LEAST: u64 = 1024;

    /// These codings without repetitions, in the order of their first mention; absent if the list is empty.
    pub fn of(codings: impl IntoIterator<Item = Coding>) -> Option<Self> {
        let mut each = Vec::new();
        for coding in codings {
            if !each.contains(&coding) {
                each.push(coding);
            }
        }
        (!each.is_empty()).then(|| Self {
            codings: each.into(),
            least: Self::LEAST,
        })
    }
}
