//! Passwords are checked by threads of their own, for that may take a tenth of a second. What was right is remembered.

use crate::policy::passwords::{Credentials, Remembered, Tag};
use crate::table::Users;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use tokio::sync::oneshot;

/// Passwords that may wait for their turn. By bcrypt with its usual cost, they take a few seconds.
const QUEUE: usize = 64;
/// The most threads there are.
const THREADS: usize = 4;
/// How much the threads give way to others: as much as possible.
const NICE: i32 = 19;

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    Right,
    Wrong,
    /// Too many wait for their turn.
    Busy,
}

/// A password that waits for its turn.
struct Turn {
    users: Arc<Users>,
    credentials: Credentials,
    tag: Tag,
}

/// Those who wait for the same password.
type Waiting = Arc<Mutex<HashMap<Tag, Vec<oneshot::Sender<bool>>>>>;

/// The passwords of all shards.
#[derive(Debug, Default)]
pub struct Passwords {
    remembered: OnceLock<Option<Remembered>>,
    waiting: Waiting,
    /// Absent where no thread could be started.
    threads: OnceLock<Option<SyncSender<Turn>>>,
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").finish_non_exhaustive()
    }
}

impl Passwords {
    /// Whether a client has shown a password of one of these users, and how many others were forgotten for remembering
    /// it.
    pub async fn check(&self, users: &Arc<Users>, authorization: &[u8]) -> (Checked, u32) {
        let Some(remembered) = self.remembered.get_or_init(Remembered::new) else {
            return (Checked::Busy, 0);
        };
        let tag = remembered.tag(users, authorization);
        if remembered.knows(&tag) {
            return (Checked::Right, 0);
        }
        let Some(credentials) = Credentials::read(authorization) else {
            return (Checked::Wrong, 0);
        };
        let turn = Turn {
            users: users.clone(),
            credentials,
            tag,
        };
        match self.queue(turn) {
            // A thread that panics lets go of it.
            Some(answer) => match answer.await {
                Ok(true) => (Checked::Right, remembered.remember(tag)),
                Ok(false) => (Checked::Wrong, 0),
                Err(_) => (Checked::Busy, 0),
            },
            None => (Checked::Busy, 0),
        }
    }

    /// Has a password checked; absent if too many wait. One that is being checked for others is not checked again.
    fn queue(&self, turn: Turn) -> Option<oneshot::Receiver<bool>> {
        let (sender, answer) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.entry(turn.tag) {
            Entry::Occupied(mut others) => others.get_mut().push(sender),
            Entry::Vacant(place) => {
                let threads = self.threads.get_or_init(|| start(&self.waiting)).as_ref()?;
                threads.try_send(turn).ok()?;
                place.insert(vec![sender]);
            }
        }
        Some(answer)
    }
}

/// Starts the threads; absent where none could be.
fn start(waiting: &Waiting) -> Option<SyncSender<Turn>> {
    let (sender, turns) = sync_channel(QUEUE);
    let turns = Arc::new(Mutex::new(turns));
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let mut started = false;
    for _ in 0..(cores / 4).clamp(1, THREADS) {
        let (turns, waiting) = (turns.clone(), waiting.clone());
        let thread = thread::Builder::new().name("passwords".to_owned());
        started |= thread.spawn(move || work(&turns, &waiting)).is_ok();
    }
    started.then_some(sender)
}

fn work(turns: &Mutex<Receiver<Turn>>, waiting: &Waiting) {
    // If that is not allowed, they take the same share as others.
    let _ = rustix::process::setpriority_process(None, NICE);
    loop {
        let turn = turns.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(turn) = turn else { return };
        let Some(answers) = Answers::wanted(waiting, turn.tag) else {
            continue;
        };
        let right = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| turn.credentials.are_of(&turn.users)));
        if let Ok(right) = right {
            answers.give(right);
        }
    }
}

/// The requests that wait for an answer. If none comes, they go on when this is dropped.
struct Answers<'w> {
    waiting: &'w Waiting,
    tag: Tag,
    /// A request that comes after they were told waits for another answer.
    given: bool,
}

impl<'w> Answers<'w> {
    /// Absent if all have gone. Then nobody waits any more.
    fn wanted(waiting: &'w Waiting, tag: Tag) -> Option<Self> {
        let mut all = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let still = all
            .get(&tag)
            .is_some_and(|those| those.iter().any(|one| !one.is_closed()));
        if !still {
            all.remove(&tag);
        }
        // Made only if it is wanted: dropping one locks the map again.
        still.then(|| Self {
            waiting,
            tag,
            given: false,
        })
    }

    fn take(waiting: &Waiting, tag: &Tag) -> Vec<oneshot::Sender<bool>> {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(tag).unwrap_or_default()
    }

    fn give(mut self, right: bool) {
        self.given = true;
        for one in Self::take(self.waiting, &self.tag) {
            // A client that has gone needs no answer.
            let _ = one.send(right);
        }
    }
}

impl Drop for Answers<'_> {
    fn drop(&mut self) {
        if !self.given {
            drop(Self::take(self.waiting, &self.tag));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(text: &str) -> Arc<Users> {
        Users::of_file(text.as_bytes()).users.unwrap()
    }

    /// Costs some hundredths of a second; the password is `p`.
    fn slow() -> Arc<Users> {
        users(&format!("u:{}", bcrypt::hash("p", 8).unwrap()))
    }

    #[tokio::test]
    async fn a_password_is_checked_once_and_then_remembered() {
        let (passwords, users) = (Passwords::default(), users("u:{PLAIN}p"));
        // Often, since one thread tells what came of it while another asks again.
        for _ in 0..500 {
            assert_eq!(passwords.check(&users, b"Basic dTpw").await, (Checked::Right, 0));
            assert_eq!(passwords.check(&users, b"Basic dTpx").await, (Checked::Wrong, 0));
            assert_eq!(passwords.check(&users, b"Basic djpw").await, (Checked::Wrong, 0));
            assert_eq!(passwords.check(&users, b"nonsense").await, (Checked::Wrong, 0));
        }
        assert!(passwords.waiting.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_the_same_password_waits_once() {
        let (passwords, users) = (Passwords::default(), slow());
        let same = futures_util::future::join_all((0..500).map(|_| passwords.check(&users, b"Basic dTpw")));
        assert!(same.await.into_iter().all(|(checked, _)| checked == Checked::Right));
        use base64::Engine;
        let text = |n: usize| {
            let text = base64::engine::general_purpose::STANDARD.encode(format!("u:{n}"));
            format!("Basic {text}").into_bytes()
        };
        let texts: Vec<_> = (0..500).map(text).collect();
        let all = futures_util::future::join_all(texts.iter().map(|text| passwords.check(&users, text))).await;
        let busy = all.iter().filter(|(checked, _)| *checked == Checked::Busy).count();
        assert!((1..=500 - QUEUE).contains(&busy), "{busy}");
        assert!(all.iter().all(|(checked, _)| *checked != Checked::Right));
        // Those who were turned away left nothing behind.
        assert!(passwords.waiting.lock().unwrap().is_empty());
        assert_eq!(passwords.check(&users, b"Basic dTpw").await.0, Checked::Right);
    }

    #[tokio::test]
    async fn who_goes_is_not_waited_for() {
        let (passwords, users) = (Passwords::default(), slow());
        for n in 0..40 {
            let text = format!("Basic dTp{}", ["w", "x"][n % 2]);
            let check = std::pin::pin!(passwords.check(&users, text.as_bytes()));
            assert!(futures_util::poll!(check).is_pending() || n > 0);
        }
        assert_eq!(passwords.check(&users, b"Basic dTpw").await.0, Checked::Right);
        assert_eq!(passwords.check(&users, b"Basic dTpx").await.0, Checked::Wrong);
    }
}
