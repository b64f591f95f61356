//! A watch of the status that Routes have, as long as this process writes it. The list that is read once a minute would show too
//! late what others have written, and the rest of narthex keeps no status.

use super::{Known, entry_of};
use crate::model::ObjectRef;
use crate::status::api::{Api, Failed};
use futures_util::StreamExt;
use kube::core::WatchEvent;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How many changes may wait to be looked at. A watch that is ahead of that waits.
const WAITING: usize = 256;

/// A Route as a watch shows it; nothing is known of one that was deleted.
type Seen = (ObjectRef, Option<Known>);

/// Watches of all places where Routes are served. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    seen: mpsc::Receiver<Seen>,
    tasks: JoinSet<()>,
    places: usize,
}

impl Watch {
    /// Watches these places, each from the resourceVersion of its list on.
    pub fn begin(api: &Api, router: &str, places: Vec<(String, String)>) -> Self {
        let (sender, seen) = mpsc::channel(WAITING);
        let mut tasks = JoinSet::new();
        let count = places.len();
        for (place, version) in places {
            let (api, router, sender) = (api.clone(), router.to_owned(), sender.clone());
            tasks.spawn(async move {
                if let Err(error) = follow(&api, &router, (&place, &version), &sender).await {
                    tracing::debug!(%error, place, "the watch of the status of Routes ended");
                }
            });
        }
        Self {
            seen,
            tasks,
            places: count,
        }
    }

    /// Whether all places are still watched.
    pub fn is_live(&mut self) -> bool {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.len() == self.places
    }

    /// The next change that was seen, if there is one.
    pub fn next(&mut self) -> Option<Seen> {
        self.seen.try_recv().ok()
    }
}

async fn follow(
    api: &Api,
    router: &str,
    (place, version): (&str, &str),
    sender: &mpsc::Sender<Seen>,
) -> Result<(), Failed> {
    let mut events = std::pin::pin!(api.watch(place, version).await?);
    while let Some(event) = events.next().await {
        let seen = match event.map_err(|error| Failed::Other(error.to_string()))? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                entry_of(&object, router).map(|(object, known)| (object, Some(known)))
            }
            WatchEvent::Deleted(object) => entry_of(&object, router).map(|(object, _)| (object, None)),
            WatchEvent::Bookmark(_) => None,
            WatchEvent::Error(status) => return Err(Failed::Other(status.message.clone())),
        };
        if let Some(seen) = seen
            && sender.send(seen).await.is_err()
        {
            break;
        }
    }
    Ok(())
}
