//! Who may come in: what of it stands in other objects than the one that asks for it.

use super::{Key, State};
use crate::dialect::annotations::{BasicWanted, Settings};
use crate::dialect::reading::Reading;
use crate::model::object::Meta;
use crate::model::{Code, Diagnostic, ObjectRef};
use crate::table::{Access, Basic, Before, Guard, Users};
use std::borrow::Cow;
use std::sync::Arc;

impl State {
    /// Reads the Secret that says who may sign in.
    pub(super) fn need_users(&mut self, reading: &Reading, meta: &Meta) {
        if let Some(basic) = &reading.settings.access.basic {
            self.secrets
                .need_users(&(meta.namespace.clone(), basic.secret.clone()), basic.map);
        }
    }

    /// What an object says, with the step that asks clients who they are; and what closes its routes where that cannot be
    /// done.
    pub(super) fn with_access<'r>(
        &self,
        object: &ObjectRef,
        reading: &'r Reading,
    ) -> (Cow<'r, Settings>, Option<Arc<Guard>>) {
        let (settings, wanted) = (&reading.settings, &reading.settings.access);
        if *wanted == Default::default() {
            return (Cow::Borrowed(settings), None);
        }
        let basic = match &wanted.basic {
            None => None,
            Some(basic) => match self.users(object, basic) {
                None => {
                    let closed = Guard {
                        object: object.clone(),
                        name: basic.named_by.into(),
                        invalid: true,
                    };
                    return (Cow::Borrowed(settings), Some(Arc::new(closed)));
                }
                Some(users) => Some(Basic {
                    challenge: basic.challenge.clone(),
                    users,
                }),
            },
        };
        let mut settings = settings.clone();
        let access = Before::Access(Arc::new(Access { basic }));
        settings.chain.behind = settings.chain.behind.iter().cloned().chain([access]).collect();
        (Cow::Owned(settings), None)
    }

    fn users(&self, object: &ObjectRef, basic: &BasicWanted) -> Option<Arc<Users>> {
        let known = self.secrets.get(&secret_of(object, basic))?;
        known.users(basic.map)?.users.clone()
    }

    /// What is wrong with the Secret that says who may sign in.
    pub(super) fn diagnose_users(&self, object: &ObjectRef, reading: &Reading, said: &mut Vec<Diagnostic>) {
        let Some(basic) = &reading.settings.access.basic else {
            return;
        };
        let mut say = |code, message| {
            let field = format!("annotation {}", basic.named_by);
            said.push(Diagnostic::new(code, object, field, message));
        };
        const CLOSED: &str = "so the routes of this Ingress are closed: requests get 503";
        let (namespace, name) = secret_of(object, basic);
        let Some(known) = self.secrets.get(&(namespace.clone(), name.clone())) else {
            let message = format!("there is no Secret \"{name}\" in namespace \"{namespace}\", {CLOSED}");
            return say(Code::GuardInvalid, message);
        };
        let Some(read) = known.users(basic.map) else { return };
        let closes = read.users.is_none();
        for (place, wrong) in read.wrong.iter().enumerate() {
            let message = format!("Secret \"{name}\": {wrong}");
            if closes && place + 1 == read.wrong.len() {
                say(Code::GuardInvalid, format!("{message}, {CLOSED}"));
            } else {
                say(Code::InvalidUser, message);
            }
        }
    }
}

fn secret_of(object: &ObjectRef, basic: &BasicWanted) -> Key {
    (object.namespace.clone(), basic.secret.clone())
}
