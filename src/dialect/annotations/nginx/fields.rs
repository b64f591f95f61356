//! The fields that pods and clients get by the rules of ingress-nginx.

use super::config::Config;
use super::snippet::Snippet;
use crate::dialect::annotations::native::Fields as Own;
use crate::table::{
    Edit, Exchanged, FieldChanges, FieldPattern, Places, Replies, ReplyFields, RequestFields, Template, What,
};
use std::sync::{Arc, LazyLock};

/// What pods get of every request beside what narthex tells all pods.
const USUAL: [(&str, &str); 4] = [
    ("X-Forwarded-Scheme", "$scheme"),
    ("X-Scheme", "$scheme"),
    ("X-Original-Forwarded-For", "$http_x_forwarded_for"),
    ("X-Original-Forwarded-Host", "$http_x_forwarded_host"),
];

/// What most routes have: all that ask for no more share it.
static SHARED: LazyLock<Arc<FieldChanges>> = LazyLock::new(|| {
    Arc::new(FieldChanges {
        request: RequestFields::new(usual()),
        reply: ReplyFields::default(),
    })
});

fn usual() -> Vec<(Box<str>, Template)> {
    let set = USUAL
        .iter()
        .filter_map(|(name, text)| Some(((*name).into(), Template::new(text).ok()?)));
    set.collect()
}

/// What the annotations of an Ingress ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::dialect::annotations) struct Fields {
    /// `x-forwarded-prefix`, which counts where paths are rewritten.
    pub prefix: Option<Template>,
    pub cookie_path: Option<Exchanged>,
    pub cookie_domain: Option<Exchanged>,
    pub redirect_from: Option<Template>,
    pub redirect_to: Option<Template>,
    /// `upstream-vhost`, where it has variables.
    pub host: Option<Template>,
    pub snippet: Snippet,
    /// `custom-headers`.
    pub custom: Vec<(Box<str>, Template)>,
    pub is_unlogged: bool,
    /// Those of narthex's own annotations.
    pub own: Own,
}

impl Fields {
    /// What is changed.
    pub fn changes(&mut self, config: &Config, rewrites: bool) -> Arc<FieldChanges> {
        let location = self.redirect_from.take().or_else(|| config.redirect_from.clone());
        let location = location.zip(self.redirect_to.take().or_else(|| config.redirect_to.clone()));
        let own = std::mem::take(&mut self.own);
        let places = Places {
            location: own
                .places
                .location
                .or(location.map(|(from, to)| Exchanged { from, to })),
            cookie_path: own
                .places
                .cookie_path
                .or(self.cookie_path.take().or_else(|| config.cookie_path.clone())),
            cookie_domain: own
                .places
                .cookie_domain
                .or(self.cookie_domain.take().or_else(|| config.cookie_domain.clone())),
        };
        let snippet = &mut self.snippet;
        let set = |fields: &[(Box<str>, Template)]| -> Vec<Edit> {
            let edit = |(name, value): &(Box<str>, Template)| Edit {
                what: What::Set(name.clone(), value.clone()),
                when: Replies::default(),
            };
            fields.iter().map(edit).collect()
        };
        let (added, of_snippet) = (set(&config.added), std::mem::take(&mut snippet.edits));
        let edits = added
            .into_iter()
            .chain(of_snippet)
            .chain(set(&self.custom))
            .chain(own.edits);
        let hidden = std::mem::take(&mut snippet.hidden).into_iter();
        let server = (config.hides_server && !config.shows_server).then(|| FieldPattern {
            name: "server".into(),
            open: false,
        });
        let reply = ReplyFields {
            hidden: config.hidden.iter().cloned().chain(server).chain(hidden).collect(),
            places: (places != Places::default()).then(|| Box::new(places)),
            edits: edits.collect(),
        };
        let uri = config
            .original_uri
            .then(|| Template::new("$request_uri").ok())
            .flatten();
        let uri = uri.map(|uri| ("X-Original-URI".into(), uri));
        let prefix = self.prefix.take().filter(|_| rewrites);
        let prefix = prefix.map(|prefix| ("X-Forwarded-Prefix".into(), prefix));
        let more = uri.into_iter().chain(prefix).chain(config.for_pods.iter().cloned());
        let more: Vec<_> = more
            .chain(std::mem::take(&mut snippet.request))
            .chain(own.set)
            .collect();
        if more.is_empty() && own.added.is_empty() && reply.is_empty() {
            return SHARED.clone();
        }
        let request = RequestFields::new(usual().into_iter().chain(more).collect()).with_added(own.added);
        Arc::new(FieldChanges { request, reply })
    }
}
