//! What decides who may come in, where that is in other objects (Secrets, Services) than the Ingress that asks for it.

use super::secrets::Known;
use super::token_keys::place_of;
use super::{Key, State};
use crate::dialect::annotations::{BasicWanted, DigestWanted, ExternalWanted, Settings};
use crate::dialect::reading::{BackendKey, OUTSIDE, Reading};
use crate::model::object::Meta;
use crate::model::{Code, Diagnostic, ObjectRef};
use crate::table::{
    Access, At, BackendState, Basic, Before, Digest, ErrorPages, External, Guard, Jwt, Mirror, Satisfy, Users,
};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

impl State {
    /// Reads the Secret that says who may sign in.
    pub(super) fn need_users(&mut self, reading: &Reading, meta: &Meta) {
        if let Some(basic) = &reading.settings.access.basic {
            self.secrets
                .need_users(&(meta.namespace.clone(), basic.secret.clone()), basic.map);
        }
        if let Some(digest) = &reading.settings.access.digest {
            self.secrets
                .need_digests(&(meta.namespace.clone(), digest.secret.clone()), digest.map);
        }
        if let Some(jwt) = &reading.settings.access.jwt {
            self.need_keys(place_of(&meta.namespace, jwt), jwt.from.as_ref());
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
        if wanted.is_empty() {
            return (Cow::Borrowed(settings), None);
        }
        let closed_by = |name: &'static str| {
            let closed = Guard {
                object: object.clone(),
                name: name.into(),
                invalid: true,
            };
            (Cow::Borrowed(settings), Some(Arc::new(closed)))
        };
        let basic = match &wanted.basic {
            None => None,
            Some(basic) => match self.users(object, basic) {
                None => return closed_by(basic.named_by),
                Some(users) => Some(Basic {
                    challenge: basic.challenge.clone(),
                    users,
                    is_kept: basic.is_kept,
                }),
            },
        };
        let digest = match &wanted.digest {
            None => None,
            Some(digest) => match self.digest(object, digest) {
                None => return closed_by(digest.named_by),
                found => found,
            },
        };
        let jwt = match &wanted.jwt {
            None => None,
            Some(jwt) => match self.keys_of(object, jwt) {
                None => return closed_by(jwt.named_by),
                Some(keys) => {
                    let parties = (jwt.issuers.clone(), jwt.audiences.clone());
                    let jwt = Jwt::new(keys, parties, jwt.leeway, jwt.claims.clone()).with_cookie(jwt.cookie.clone());
                    Some(Arc::new(jwt))
                }
            },
        };
        if let Some(external) = wanted.external.as_ref().filter(|external| self.needs_flag(external)) {
            return closed_by(external.named_by);
        }
        let external = wanted.external.as_ref().map(|external| self.asks(external));
        let satisfy = if wanted.any {
            Satisfy::Any(wanted.addresses.clone())
        } else {
            Satisfy::All
        };
        let mut settings = settings.clone();
        let access = Before::Access(Arc::new(Access {
            basic,
            digest: digest.map(Arc::new),
            jwt,
            external,
            satisfy,
        }));
        settings.chain.behind = settings.chain.behind.iter().cloned().chain([access]).collect();
        (Cow::Owned(settings), None)
    }

    /// The same with the step that has a Service make error pages.
    pub(super) fn with_error_pages<'r>(&self, settings: Cow<'r, Settings>, reading: &Reading) -> Cow<'r, Settings> {
        let (Some(wanted), Some(from)) = (&settings.error_pages, &reading.error_pages) else {
            return settings;
        };
        let pages = Before::ErrorPages(Arc::new(ErrorPages {
            statuses: wanted.statuses.clone(),
            of_pods: wanted.of_pods,
            from: self.backend_id(from),
        }));
        let mut settings = settings.into_owned();
        // They are for the errors of all other steps.
        settings.chain.before = [pages]
            .into_iter()
            .chain(settings.chain.before.iter().cloned())
            .collect();
        Cow::Owned(settings)
    }

    /// The same with the steps that have copies of requests sent to others. They come behind all that may refuse a request.
    pub(super) fn with_mirrors<'r>(&self, settings: Cow<'r, Settings>) -> Cow<'r, Settings> {
        if settings.mirrors.is_empty() {
            return settings;
        }
        let mut settings = settings.into_owned();
        let steps = settings.mirrors.iter().map(|wanted| {
            Before::Mirror(Arc::new(Mirror {
                to: self.backend_id(&wanted.to),
                target: wanted.target.clone(),
                host: wanted.host.clone(),
                body: wanted.body,
                share: wanted.share,
            }))
        });
        settings.chain.behind = settings.chain.behind.iter().cloned().chain(steps).collect();
        Cow::Owned(settings)
    }

    /// Why copies are sent to nobody.
    pub(super) fn diagnose_mirrors(&self, object: &ObjectRef, reading: &Reading, said: &mut Vec<Diagnostic>) {
        for mirror in &reading.settings.mirrors {
            if let Some((code, why)) = self.unusable(&mirror.to) {
                let message = format!("no copies of requests can be sent ({why})");
                said.push(Diagnostic::new(code, object, mirror.named_by, message));
            }
        }
    }

    /// What is said of error pages for which there is nobody.
    pub(super) fn diagnose_error_pages(&self, object: &ObjectRef, reading: &Reading, said: &mut Vec<Diagnostic>) {
        let wanted = reading.settings.error_pages.as_ref();
        let named_by = wanted.and_then(|wanted| wanted.named_by);
        let own = wanted.and_then(|wanted| wanted.from.as_ref());
        if let (Some(name), Some((code, why))) = (named_by, own.and_then(|own| self.unusable(own))) {
            let message = format!("no error pages can be had ({why}), so errors stay as they are");
            said.push(Diagnostic::new(code, object, format!("annotation {name}"), message));
        }
        if let (Some(name), None) = (named_by, &reading.error_pages) {
            let message = "there is no default backend to make error pages, so errors stay as they are: name one by \
                           nginx.ingress.kubernetes.io/default-backend or --nginx-default-backend";
            let field = format!("annotation {name}");
            said.push(Diagnostic::new(
                Code::InvalidAnnotation,
                object,
                field,
                message.to_owned(),
            ));
        }
    }

    fn asks(&self, wanted: &ExternalWanted) -> External {
        let at = match &wanted.backend {
            Some(backend) => At::Backend(self.backend_id(backend), wanted.host.clone()),
            None => At::SameHost { secure: wanted.secure },
        };
        External {
            at,
            target: wanted.target.clone(),
            method: wanted.method.clone(),
            tells_more: wanted.tells_more,
            patience: wanted.patience,
            sign_in: wanted.sign_in.clone(),
            fields: wanted.fields.clone(),
            returns_to: wanted.returns_to.clone(),
            always_sets_cookies: wanted.always_sets_cookies,
            told: wanted.told.clone(),
            remembered: wanted.remembered.clone(),
        }
    }

    /// Whether a service outside of the cluster is not to be asked.
    fn needs_flag(&self, external: &ExternalWanted) -> bool {
        let is_outside = |key: &BackendKey| key.service.starts_with(OUTSIDE);
        external.needs_flag && !self.options.allow_external_names && external.backend.as_ref().is_some_and(is_outside)
    }

    fn users(&self, object: &ObjectRef, basic: &BasicWanted) -> Option<Arc<Users>> {
        let known = self.secrets.get(&secret_of(object, &basic.secret))?;
        known.users(basic.map)?.users.clone()
    }

    fn digest(&self, object: &ObjectRef, wanted: &DigestWanted) -> Option<Digest> {
        let known = self.secrets.get(&secret_of(object, &wanted.secret))?;
        let users = known.digests(wanted.map)?.users.as_ref()?;
        users.asked_for(wanted.realm.as_deref()).ok()
    }

    /// Why the service that is asked cannot be.
    pub(super) fn diagnose_external(&self, object: &ObjectRef, reading: &Reading, said: &mut Vec<Diagnostic>) {
        let Some(external) = &reading.settings.access.external else {
            return;
        };
        if self.needs_flag(external) {
            let message = format!(
                "{} is outside of the cluster, which needs --allow-external-names, so the routes of this Ingress are closed: \
                 requests get 503",
                external.host
            );
            said.push(Diagnostic::new(
                Code::GuardInvalid,
                object,
                field_of(external.named_by),
                message,
            ));
            return;
        }
        let Some(key) = external.backend.as_ref() else {
            return;
        };
        let Some((code, why)) = self.unusable(key) else { return };
        let message = format!(
            "{} cannot be asked ({why}), so nobody is let in: requests get 500",
            external.host
        );
        said.push(Diagnostic::new(code, object, field_of(external.named_by), message));
    }

    /// Why a backend that an annotation names by a URL gets no requests, where that is known.
    pub(super) fn unusable(&self, key: &BackendKey) -> Option<(Code, String)> {
        let backend = self.backend(key)?;
        // Nobody has asked DNS yet, or, as in `check`, nobody will.
        let is_name = |host: &str| host.trim_matches(['[', ']']).parse::<IpAddr>().is_err();
        let host = backend.service.strip_prefix(OUTSIDE);
        let unasked = host.is_some_and(|host| is_name(host) && !self.resolved.contains_key(host));
        let code = match backend.state {
            _ if unasked => return None,
            _ if backend.guard.is_some() => Code::GuardNotEnforced,
            BackendState::Ready | BackendState::OnlyTerminating | BackendState::ReadinessUnknown => return None,
            BackendState::NoEndpoints => Code::NoEndpoints,
            BackendState::ServiceNotFound => Code::ServiceNotFound,
            BackendState::PortNotFound => Code::PortNotFound,
            BackendState::ExternalNameRefused => Code::ExternalNameRefused,
            BackendState::ExternalNameUnresolved => Code::ExternalNameUnresolved,
            BackendState::Invalid | BackendState::TlsUnready => Code::InvalidBackend,
        };
        let why = match &backend.guard {
            Some(guard) => guard.why(),
            None if code == Code::ExternalNameUnresolved => {
                "its host does not resolve to any address that narthex may use".to_owned()
            }
            None => backend.state.reason().to_owned(),
        };
        Some((code, why))
    }

    /// What is wrong with the Secret that says who may sign in.
    pub(super) fn diagnose_users(&self, object: &ObjectRef, reading: &Reading, said: &mut Vec<Diagnostic>) {
        let access = &reading.settings.access;
        if let Some(basic) = &access.basic {
            let place = (basic.named_by, &basic.secret);
            self.diagnose_users_of(object, place, said, |known| {
                let read = known.users(basic.map)?;
                Some((read.wrong.clone(), read.users.is_none()))
            });
        }
        if let Some(digest) = &access.digest {
            let place = (digest.named_by, &digest.secret);
            self.diagnose_users_of(object, place, said, |known| {
                let read = known.digests(digest.map)?;
                let mut wrong = read.wrong.clone();
                let asked_for = read
                    .users
                    .as_ref()
                    .map(|users| users.asked_for(digest.realm.as_deref()));
                let closes = !matches!(asked_for, Some(Ok(_)));
                wrong.extend(asked_for.and_then(Result::err));
                Some((wrong, closes))
            });
        }
    }

    /// The same of one Secret: `read` says what is wrong with it, and whether nobody can sign in.
    fn diagnose_users_of(
        &self,
        object: &ObjectRef,
        (named_by, secret): (&str, &Arc<str>),
        said: &mut Vec<Diagnostic>,
        read: impl FnOnce(&Known) -> Option<(Vec<String>, bool)>,
    ) {
        let mut say = |code, message| {
            let field = format!("annotation {named_by}");
            said.push(Diagnostic::new(code, object, field, message));
        };
        let Some(known) = self.secrets.get(&secret_of(object, secret)) else {
            let (code, message) = self.no_secret(&object.namespace, secret);
            return say(code, format!("{message}, {CLOSED}"));
        };
        let Some((wrong, closes)) = read(known) else { return };
        let whose = format!("Secret \"{secret}\"");
        for (code, message) in entries_wrong(&whose, &wrong, (closes, Code::InvalidUser)) {
            say(code, message);
        }
    }
}

/// What follows for the routes of an object that says who may come in, where that cannot be read.
pub(super) const CLOSED: &str = "so the routes of this Ingress are closed: requests get 503";

/// What is wrong with entries of a Secret or ConfigMap. If no entry is left, the last says what follows; one that others do without
/// has the code `minor`.
pub(super) fn entries_wrong(
    whose: &str,
    wrong: &[String],
    (closes, minor): (bool, Code),
) -> impl Iterator<Item = (Code, String)> {
    wrong.iter().enumerate().map(move |(place, why)| {
        if closes && place + 1 == wrong.len() {
            (Code::GuardInvalid, format!("{whose}: {why}, {CLOSED}"))
        } else {
            (minor, format!("{whose}: {why}"))
        }
    })
}

/// The field of an object that names a service: an annotation has a slash in its name, words have none.
fn field_of(named_by: &str) -> String {
    if named_by.contains('/') {
        format!("annotation {named_by}")
    } else {
        named_by.to_owned()
    }
}

fn secret_of(object: &ObjectRef, secret: &Arc<str>) -> Key {
    (object.namespace.clone(), secret.clone())
}

#[cfg(test)]
mod tests;
