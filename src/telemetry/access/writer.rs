//! The thread that writes, and the bounded queue before it.

use super::options::AccessOptions;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Pieces that wait to be written, of 32 KiB each where much is to be written: 8 MiB in all.
const WAITING: usize = 256;
/// How long the end of the process waits for what is not yet written.
const PATIENCE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(5);

enum Message {
    Lines(Vec<u8>, u64),
    /// Says so when it comes to it.
    End(SyncSender<()>),
}

/// What shards and the writer share.
#[derive(Debug, Default)]
struct Common {
    /// Lines that could not be written, and are not counted yet.
    lost: AtomicU64,
    /// The file to go on with, when it was opened anew.
    next: Mutex<Option<File>>,
}

/// The access log of the process.
#[derive(Debug)]
pub struct AccessLog {
    options: AccessOptions,
    path: Option<PathBuf>,
    queue: SyncSender<Message>,
    common: Arc<Common>,
}

fn open(path: &Path) -> io::Result<File> {
    // It says who asked for what: not for everybody.
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

impl AccessLog {
    /// Begins to write, to standard output where there is no file.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread not started.
    pub fn start(options: AccessOptions, path: Option<PathBuf>) -> io::Result<Self> {
        let file = match &path {
            Some(path) => open(path)?,
            None => File::from(io::stdout().as_fd().try_clone_to_owned()?),
        };
        let (queue, messages) = mpsc::sync_channel(WAITING);
        let common = Arc::new(Common::default());
        let shared = common.clone();
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write(file, &messages, &shared))?;
        Ok(Self {
            options,
            path,
            queue,
            common,
        })
    }

    /// What is logged, and how.
    pub fn options(&self) -> &AccessOptions {
        &self.options
    }

    /// Reserves room for this many lines; false if there is not enough.
    pub(super) fn take(&self, text: Vec<u8>, lines: u64) -> bool {
        self.queue.try_send(Message::Lines(text, lines)).is_ok()
    }

    /// Lines lost in writing since this was asked last.
    pub(super) fn take_lost(&self) -> u64 {
        match self.common.lost.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.common.lost.swap(0, Ordering::Relaxed),
        }
    }

    /// Opens the file anew, for the old one was moved away. What comes from now on is in the new one.
    ///
    /// # Errors
    /// When it cannot be opened: then the old one is written on.
    pub fn reopen(&self) -> io::Result<()> {
        if let Some(path) = &self.path {
            let file = open(path)?;
            self.common
                .next
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .replace(file);
            // So that the old file is let go of; if there is no room, the writer has enough to see that it is time.
            self.take(Vec::new(), 0);
        }
        Ok(())
    }

    /// Waits until what was taken is written, for a second at most.
    pub fn finish(&self) {
        let deadline = Instant::now() + PATIENCE;
        let (done, is_done) = mpsc::sync_channel(1);
        let mut message = Message::End(done);
        while let Err(TrySendError::Full(back)) = self.queue.try_send(message) {
            if Instant::now() >= deadline {
                return;
            }
            message = back;
            std::thread::sleep(POLL);
        }
        let _ = is_done.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

fn write(mut file: File, messages: &Receiver<Message>, common: &Common) {
    let mut failing = false;
    while let Ok(message) = messages.recv() {
        if let Some(next) = common.next.lock().unwrap_or_else(PoisonError::into_inner).take() {
            file = next;
        }
        match message {
            Message::Lines(text, lines) => match file.write_all(&text) {
                Ok(()) if failing => {
                    failing = false;
                    tracing::info!("the access log can be written again");
                }
                Ok(()) => {}
                Err(error) => {
                    common.lost.fetch_add(lines, Ordering::Relaxed);
                    // Once, not for each line.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(%error, "cannot write the access log: lines are lost");
                    }
                }
            },
            Message::End(done) => {
                let _ = done.send(());
            }
        }
    }
}
