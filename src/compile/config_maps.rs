//! ConfigMaps: those of ingress-nginx, and those that annotations name.

use super::links::Cause;
use super::{Key, State, key};
use crate::dialect::Dialect;
use crate::dialect::annotations::nginx::{self, Beside, Config, Finding};
use crate::dialect::claimant::Claimant;
use crate::model::object::ConfigMap;
use crate::model::{Code, Diagnostic, Kind, ObjectRef};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The ConfigMaps that are there, and what that of ingress-nginx says.
#[derive(Debug, Default)]
pub(super) struct ConfigMaps {
    known: HashMap<Key, Arc<ConfigMap>>,
    /// What most Ingresses of ingress-nginx are read with.
    beside: Arc<Beside>,
    findings: Vec<Finding>,
}

impl ConfigMaps {
    /// None is there yet.
    pub fn new(default_backend: Option<Key>) -> Self {
        let beside = Arc::new(Beside {
            default_backend,
            ..Beside::default()
        });
        Self {
            beside,
            ..Self::default()
        }
    }

    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.known.keys()
    }

    pub fn get(&self, key: &Key) -> Option<&Arc<ConfigMap>> {
        self.known.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<ConfigMap>> {
        self.known.values()
    }
}

impl State {
    pub(super) fn put_config_map(&mut self, key: Key, map: Arc<ConfigMap>) {
        if self.config_maps.known.get(&key) != Some(&map) {
            self.config_maps.known.insert(key.clone(), map);
            self.config_map_changed(&key);
        }
    }

    pub(super) fn delete_config_map(&mut self, key: &Key) {
        if self.config_maps.known.remove(key).is_some() {
            self.config_map_changed(key);
        }
    }

    fn config_map_changed(&mut self, key: &Key) {
        self.stale
            .insert(ObjectRef::new(Kind::ConfigMap, key.0.clone(), key.1.clone()));
        if let Some(main) = self.options.nginx_config_map.clone()
            && (main == *key || self.named_by_main().contains(key))
        {
            self.read_nginx_config(&main);
        }
        self.forget_keys(&(Kind::ConfigMap, key.clone()));
        self.recompile_users(&Cause::config_map(key.clone()));
    }

    /// The ConfigMaps that the one of ingress-nginx names.
    fn named_by_main(&self) -> BTreeSet<Key> {
        let main = self.options.nginx_config_map.as_ref();
        let main = main.and_then(|main| self.config_maps.known.get(main));
        main.map(|map| Config::names(map)).unwrap_or_default()
    }

    /// Reads the ConfigMap of ingress-nginx, and all Ingresses anew that hang on it.
    fn read_nginx_config(&mut self, main: &Key) {
        let known = &self.config_maps.known;
        let read = known
            .get(main)
            .map(|map| Config::read(map, |other| known.get(other).cloned()));
        let (config, findings) = read.unwrap_or_default();
        self.config_maps.findings = findings;
        self.links.wants_others();
        self.stale
            .insert(ObjectRef::new(Kind::ConfigMap, main.0.clone(), main.1.clone()));
        if *self.config_maps.beside.config != config {
            self.config_maps.beside = Arc::new(Beside {
                config: Arc::new(config),
                named: Vec::new(),
                default_backend: self.options.nginx_default_backend.clone(),
            });
            self.recompile_users(&Cause::config_map(main.clone()));
        }
    }

    /// What an object of a dialect is read with beside itself.
    pub(super) fn beside(&self, claimant: &dyn Claimant, dialect: Dialect) -> Option<Arc<Beside>> {
        if dialect != Dialect::IngressNginx {
            return None;
        }
        let common = &self.config_maps.beside;
        let named = nginx::named_by(claimant.meta());
        let named: Vec<_> = named
            .filter_map(|key| self.config_maps.known.get(&key).cloned())
            .collect();
        if named.is_empty() {
            return Some(common.clone());
        }
        Some(Arc::new(Beside {
            named,
            ..Beside::clone(common)
        }))
    }

    /// The ConfigMaps that an object of a dialect hangs on.
    pub(super) fn config_maps_of(&self, claimant: &dyn Claimant, dialect: Dialect) -> impl Iterator<Item = Cause> {
        let is_nginx = dialect == Dialect::IngressNginx;
        let named = is_nginx.then(|| nginx::named_by(claimant.meta()));
        let main = self.options.nginx_config_map.clone().filter(|_| is_nginx);
        named.into_iter().flatten().chain(main).map(Cause::config_map)
    }

    /// ConfigMaps that are needed, by namespace and name: a source need not know any other.
    pub fn wanted_config_maps(&self) -> BTreeSet<Key> {
        let main = self.options.nginx_config_map.iter().cloned();
        let named = self.links.used(Kind::ConfigMap).cloned();
        main.chain(named).chain(self.named_by_main()).collect()
    }

    pub(super) fn diagnose_config_map(&self, object: &ObjectRef, said: &mut Vec<Diagnostic>) {
        let key = key(object);
        if self.options.nginx_config_map.as_ref() != Some(&key) {
            return;
        }
        if !self.config_maps.known.contains_key(&key) {
            let message = "--nginx-configmap names it, but it does not exist, so the defaults of ingress-nginx apply";
            said.push(Diagnostic::new(Code::InvalidConfig, object, "data", message.to_owned()));
        }
        if !self.config_maps.beside.config.errors.is_empty() && self.options.nginx_default_backend.is_none() {
            let message = "only Ingresses with a default-backend of their own get error pages, since --nginx-default-backend \
                           names no Service";
            let field = "data.custom-http-errors";
            said.push(Diagnostic::new(Code::NotYet, object, field, message.to_owned()));
        }
        for finding in &self.config_maps.findings {
            let (code, then) = match finding {
                Finding {
                    closes: Some(closed), ..
                } => (
                    Code::InvalidConfig,
                    format!(", so {closed} are closed: requests get 503"),
                ),
                Finding { is_wrong: true, .. } => (Code::InvalidConfig, ", so it is left out".to_owned()),
                _ => (Code::NotYet, String::new()),
            };
            let message = format!("{}{then}", finding.message);
            said.push(Diagnostic::new(code, object, format!("data.{}", finding.key), message));
        }
    }
}
