//! What a route leads to.

use super::backend::{Backend, BackendId};
use super::choice::Choice;
use super::{Route, Table, sticky};
use crate::message::Fields;
use http::{HeaderValue, StatusCode};
use std::sync::Arc;

/// Where requests of a route go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To one backend.
    Backend(BackendId),
    /// To one that has others beside it, as the request says and by weight.
    Choice(Arc<Choice>),
    /// To one of several, by weight.
    Split(Arc<Split>),
    /// As one of several routes says, by weight.
    Shares(Arc<Shares>),
    /// To none: narthex answers.
    Answer(Arc<Answer>),
    /// To none: the answer is that there is no such route.
    Nowhere,
}

/// Several backends and their shares. A backend with a share of 0 keeps the clients that have a session with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split(pub Box<[(BackendId, u32)]>);

/// Routes of the same rule that differ in where they lead and in their steps, each with its weight. Some may lead to an answer
/// of narthex's own: these get an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares(pub Box<[(Arc<Route>, u32)]>);

impl Shares {
    /// The route of a request; absent where all weights are 0. Whether a backend has endpoints does not matter: each gets its
    /// share.
    pub fn choose(&self, draw: impl Fn(u32) -> u32) -> Option<&Arc<Route>> {
        let weights = self.0.iter().map(|(_, weight)| *weight);
        let sum = weights.fold(0_u32, u32::saturating_add);
        let mut drawn = (sum > 0).then(|| draw(sum))?;
        for (route, weight) in &self.0 {
            if drawn < *weight {
                return Some(route);
            }
            drawn -= weight;
        }
        None
    }
}

/// A reply that a route names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    /// For a redirect: where to.
    pub location: Option<HeaderValue>,
}

impl Destination {
    /// The backend that gets most of the requests; absent where narthex answers.
    pub fn main(&self) -> Option<BackendId> {
        match self {
            Self::Backend(id) => Some(*id),
            Self::Choice(choice) => Some(choice.main),
            Self::Split(split) => split.0.iter().max_by_key(|(_, weight)| *weight).map(|(id, _)| *id),
            Self::Shares(shares) => {
                let all = shares.0.iter();
                let all = all.filter_map(|(route, weight)| Some((route.to.main()?, weight)));
                all.max_by_key(|(_, weight)| *weight).map(|(id, _)| id)
            }
            Self::Answer(_) | Self::Nowhere => None,
        }
    }

    /// Every backend that requests may go to.
    pub fn backends(&self) -> impl Iterator<Item = BackendId> {
        let (one, choice, several, shares): (_, _, &[(BackendId, u32)], _) = match self {
            Self::Backend(id) => (Some(*id), None, &[], None),
            Self::Choice(choice) => (None, Some(choice), &[], None),
            Self::Split(split) => (None, None, &split.0, None),
            Self::Shares(shares) => (None, None, &[], Some(shares)),
            Self::Answer(_) | Self::Nowhere => (None, None, &[], None),
        };
        let choice = choice.into_iter().flat_map(|choice| choice.backends());
        // A share leads to one backend, or to none.
        let shares = shares.into_iter().flat_map(|shares| &shares.0);
        let shares = shares.filter_map(|(route, _)| route.to.main());
        let several = several.iter().map(|(id, _)| *id);
        one.into_iter().chain(choice).chain(several).chain(shares)
    }

    /// The backend of one request, if nothing else of it decides. `draw` gives a number below the one it is given.
    pub fn choose(&self, draw: fn(u32) -> u32) -> Option<BackendId> {
        match self {
            Self::Backend(id) => Some(*id),
            Self::Choice(choice) => Some(choice.main),
            Self::Split(split) => split.choose(draw),
            Self::Shares(shares) => shares.choose(draw)?.to.choose(draw),
            Self::Answer(_) | Self::Nowhere => None,
        }
    }
}

impl Split {
    /// The backend of a request: that of the client's session, else one by its share. Backends without endpoints get none as
    /// long as others have some.
    pub fn choose_in<'t>(&self, table: &'t Table, fields: &Fields, draw: fn(u32) -> u32) -> Option<&'t Arc<Backend>> {
        let all = || {
            self.0
                .iter()
                .filter_map(|(id, weight)| Some((table.backend(*id)?, *weight)))
        };
        if let Some(backend) = session(|| all().map(|(backend, _)| backend), fields) {
            return Some(backend);
        }
        let has_some = |backend: &Backend| !backend.endpoints.is_empty();
        let sum: u32 = all()
            .filter(|(backend, _)| has_some(backend))
            .map(|(_, weight)| weight)
            .sum();
        if sum == 0 {
            // One of those that should get some says why there is no answer.
            return all().find(|(_, weight)| *weight > 0).map(|(backend, _)| backend);
        }
        let mut drawn = draw(sum);
        all()
            .filter(|(backend, _)| has_some(backend))
            .find_map(|(backend, weight)| {
                if drawn < weight {
                    return Some(backend);
                }
                drawn -= weight;
                None
            })
    }

    /// A backend by its share; absent where all shares are 0.
    fn choose(&self, draw: fn(u32) -> u32) -> Option<BackendId> {
        let sum = self
            .0
            .iter()
            .fold(0_u32, |sum, (_, weight)| sum.saturating_add(*weight));
        let mut drawn = (sum > 0).then(|| draw(sum))?;
        for (id, weight) in &self.0 {
            if drawn < *weight {
                return Some(*id);
            }
            drawn -= weight;
        }
        None
    }
}

/// The backend that a client has a session with, by the cookie that all of them have.
fn session<'t, B>(all: impl Fn() -> B, fields: &Fields) -> Option<&'t Arc<Backend>>
where
    B: Iterator<Item = &'t Arc<Backend>>,
{
    let name = all().find_map(|backend| backend.settings.sticky_cookie.as_ref())?;
    let entries = sticky::named(fields, name);
    entries.iter().find_map(|entry| {
        let wanted = entry.backend?;
        all().find(|backend| sticky::backend_hash(backend) == wanted && !backend.endpoints.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_backend_gets_its_share() {
        let id = |slot| BackendId { slot, generation: 1 };
        let split = Split(Box::new([(id(1), 1), (id(2), 0), (id(3), 2)]));
        let to = Destination::Split(Arc::new(split));
        assert_eq!(to.choose(|_| 0), Some(id(1)));
        assert_eq!(to.choose(|_| 1), Some(id(3)));
        assert_eq!(to.choose(|sum| sum - 1), Some(id(3)));
        assert_eq!(to.main(), Some(id(3)));
        assert_eq!(to.backends().count(), 3);
        let none = Destination::Split(Arc::new(Split(Box::new([(id(1), 0)]))));
        assert_eq!(none.choose(|_| 0), None);
    }
}
