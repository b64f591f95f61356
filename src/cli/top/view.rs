//! What is on the screen, and what keys do to it.

use super::Snapshot;
use crate::admin::RouteInfo;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::time::{Duration, Instant};

/// What routes can be sorted by: the API's name, the screen's, and the key.
pub const SORTS: [(&str, &str, char); 5] = [
    ("-rate", "rate", 'r'),
    ("-error_share", "errors", 'e'),
    ("-p99_ms", "p99", 't'),
    ("-status", "status", 's'),
    ("host", "host", 'h'),
];
/// Characters of what is looked for.
const LONGEST: usize = 100;
/// A picture that is older than this is not of now.
const STALE: Duration = Duration::from_secs(5);

/// What the admin side is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What to look for.
    pub words: String,
    /// The API's name of an order.
    pub sort: &'static str,
}

/// What a key leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another picture of the same.
    Nothing,
    /// Another question.
    Ask,
    /// The end.
    End,
}

/// The screen.
#[derive(Debug)]
pub struct View {
    /// What was told last.
    pub snapshot: Option<Snapshot>,
    /// Why nothing was told since.
    pub trouble: Option<String>,
    /// What is looked for.
    pub words: String,
    /// Whether that is being written.
    pub writing: bool,
    /// The place in [`SORTS`].
    pub sort: usize,
    selected: usize,
    /// Its id: what is selected stays so when the order changes.
    id: Option<String>,
    /// Whether the pods of the selected route are shown.
    pub pods: bool,
}

impl View {
    /// Nothing is known yet.
    pub fn new(words: String) -> Self {
        Self {
            snapshot: None,
            trouble: None,
            words,
            writing: false,
            sort: 0,
            selected: 0,
            id: None,
            pods: true,
        }
    }

    /// What is to be asked.
    pub fn question(&self) -> Question {
        Question {
            words: self.words.clone(),
            sort: SORTS.get(self.sort).map_or("host", |(sort, ..)| sort),
        }
    }

    /// All routes that are known.
    pub fn routes(&self) -> &[RouteInfo] {
        self.snapshot.as_ref().map_or(&[], |snapshot| &snapshot.routes.items)
    }

    /// The place of the selected route.
    pub fn selected(&self) -> usize {
        self.selected
    }

    /// The selected route.
    pub fn route(&self) -> Option<&RouteInfo> {
        self.routes().get(self.selected)
    }

    /// For how long nothing was told, if that is too long.
    pub fn stale(&self) -> Option<Duration> {
        let at = self.snapshot.as_ref().map(|snapshot| snapshot.at)?;
        let age = Instant::now().saturating_duration_since(at);
        (age > STALE || self.trouble.is_some()).then_some(age)
    }

    /// An answer has come.
    pub fn told(&mut self, answer: anyhow::Result<Snapshot>) {
        match answer {
            Ok(snapshot) => {
                self.snapshot = Some(snapshot);
                self.trouble = None;
                let same = self
                    .routes()
                    .iter()
                    .position(|route| Some(&route.id) == self.id.as_ref());
                self.select(same.unwrap_or(self.selected));
            }
            Err(error) => self.trouble = Some(format!("{error:#}")),
        }
    }

    fn select(&mut self, place: usize) {
        self.selected = place.min(self.routes().len().saturating_sub(1));
        self.id = self.route().map(|route| route.id.clone());
    }

    /// A key was pressed.
    pub fn press(&mut self, key: KeyEvent) -> Next {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Next::End;
        }
        if self.writing {
            return self.write(key.code);
        }
        match key.code {
            KeyCode::Char('q') => return Next::End,
            KeyCode::Esc if self.words.is_empty() => return Next::End,
            KeyCode::Esc => {
                self.words.clear();
                return Next::Ask;
            }
            KeyCode::Char('/') => self.writing = true,
            KeyCode::Char('p') | KeyCode::Enter => self.pods = !self.pods,
            KeyCode::Down | KeyCode::Char('j') => self.select(self.selected.saturating_add(1)),
            KeyCode::Up | KeyCode::Char('k') => self.select(self.selected.saturating_sub(1)),
            KeyCode::PageDown => self.select(self.selected.saturating_add(10)),
            KeyCode::PageUp => self.select(self.selected.saturating_sub(10)),
            KeyCode::Home => self.select(0),
            KeyCode::End => self.select(usize::MAX),
            KeyCode::Char(letter) => {
                let Some(sort) = SORTS.iter().position(|(.., key)| *key == letter) else {
                    return Next::Nothing;
                };
                self.sort = sort;
                return Next::Ask;
            }
            _ => {}
        }
        Next::Nothing
    }

    fn write(&mut self, key: KeyCode) -> Next {
        match key {
            KeyCode::Enter => self.writing = false,
            KeyCode::Esc => {
                self.writing = false;
                self.words.clear();
            }
            KeyCode::Backspace => drop(self.words.pop()),
            KeyCode::Char(letter) if self.words.chars().count() < LONGEST => self.words.push(letter),
            _ => return Next::Nothing,
        }
        Next::Ask
    }
}
