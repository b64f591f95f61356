//! JSON Web Tokens (RFC 7519) that clients show: the keys that may have signed them, and what is checked of them.

use crate::message::Fields;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use twox_hash::XxHash3_64;

/// The longest set of keys, and the most keys of one.
const MAX_TEXT: usize = 256 << 10;
const MOST_KEYS: usize = 64;

/// The longest token that is looked at.
pub const MAX_TOKEN: usize = 16 << 10;

/// How many keys a token without a key's name is tried with.
const MOST_TRIES: usize = 8;

/// Bytes of the modulus of an RSA key: less is not safe, and more takes long.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;

/// Names of issuers or audiences.
pub type Texts = Box<[Box<str>]>;

/// Claims, each with a field.
pub type Claims = Box<[(Box<str>, Box<str>)]>;

/// What a token has to say.
#[derive(Clone, Debug)]
pub struct Jwt {
    pub keys: Arc<JwtKeys>,
    /// One of these has issued it; anybody where there are none.
    pub issuers: Texts,
    /// It is for one of these; for anybody where there are none.
    pub audiences: Texts,
    /// The cookie that may have the token too.
    pub cookie: Option<Box<str>>,
    /// Seconds by which clocks may differ.
    pub leeway: u64,
    /// Claims, and the fields that pods get them in. No client's get there.
    pub claims: Claims,
    /// A hash of all of this, by which what was verified is remembered.
    id: u64,
}

impl PartialEq for Jwt {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys
            && self.issuers == other.issuers
            && self.audiences == other.audiences
            && self.cookie == other.cookie
            && self.leeway == other.leeway
            && self.claims == other.claims
    }
}

impl Eq for Jwt {}

impl Hash for Jwt {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

/// The public keys of a JWK Set (RFC 7517).
#[derive(Debug)]
pub struct JwtKeys {
    /// What they were read from.
    text: Box<[u8]>,
    all: Vec<Key>,
    /// Is told when a token names a key that is not in the set. Absent where the keys cannot be fetched again.
    missing: Option<KeyMissing>,
}

impl PartialEq for JwtKeys {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for JwtKeys {}

/// Says to whoever fetches a set of keys that a token named one that is not in it. Clones say the same.
#[derive(Clone, Debug, Default)]
pub struct KeyMissing(Arc<AtomicBool>);

impl KeyMissing {
    fn say(&self) {
        // Many tokens may name it, and the line of the cache is everybody's.
        if !self.0.load(Ordering::Relaxed) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it was said since this was asked last.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl PartialEq for KeyMissing {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for KeyMissing {}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// What came of reading a set of keys.
#[derive(Clone, Debug)]
pub struct JwtKeysRead {
    /// Absent if there is no usable key in it.
    pub keys: Option<Arc<JwtKeys>>,
    /// What is wrong; if there are no keys, the last one says why.
    pub wrong: Vec<String>,
}

impl JwtKeys {
    /// Reads a JWK Set. A key that cannot be used costs no other. `missing` is told of tokens that name another key.
    pub fn read(text: &[u8], missing: Option<KeyMissing>) -> JwtKeysRead {
        let mut wrong = Vec::new();
        let nothing = |mut wrong: Vec<String>, why: &str| {
            wrong.push(why.to_owned());
            JwtKeysRead { keys: None, wrong }
        };
        if text.len() > MAX_TEXT {
            return nothing(wrong, &format!("the set of keys is longer than {MAX_TEXT} bytes"));
        }
        // What stands in a Secret is not quoted.
        let set = serde_json::from_slice::<Value>(text).ok();
        let keys = set.as_ref().and_then(|set| set.get("keys")).and_then(Value::as_array);
        let Some(keys) = keys else {
            return nothing(wrong, "it is not a JWK Set: a JSON object with a list \"keys\"");
        };
        let mut all = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            match Key::read(key) {
                Ok(Some(key)) => all.push(key),
                Ok(None) => {}
                Err(why) => wrong.push(format!("keys[{place}] {why}")),
            }
        }
        if all.len() > MOST_KEYS {
            return nothing(wrong, &format!("it has more than {MOST_KEYS} keys"));
        }
        if all.is_empty() {
            return nothing(wrong, "there is no key in it that can verify a token");
        }
        let text = text.into();
        JwtKeysRead {
            keys: Some(Arc::new(Self { text, all, missing })),
            wrong,
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    fn has(&self, id: &str) -> bool {
        self.all.iter().any(|key| key.id.as_deref() == Some(id))
    }
}

impl Key {
    /// Reads a key; absent if it is for something else than signatures.
    fn read(value: &Value) -> Result<Option<Self>, String> {
        let kind = value.get("kty").and_then(Value::as_str).unwrap_or_default();
        if kind == "oct" {
            return Err("is a shared secret: whoever may verify by it could sign too, so it is not used".to_owned());
        }
        if !["RSA", "EC", "OKP"].contains(&kind) {
            return Err("is of a kind that narthex does not know: RSA, EC and OKP are".to_owned());
        }
        let known = ["kty", "crv", "x", "y", "n", "e", "use", "key_ops", "alg", "kid"];
        // What else a set says, such as chains of certificates, does not matter here.
        let parts: Map<String, Value> = value
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| known.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let jwk: Jwk = serde_json::from_value(Value::Object(parts)).map_err(|_| "cannot be read".to_owned())?;
        if jwk
            .common
            .public_key_use
            .as_ref()
            .is_some_and(|of| *of != PublicKeyUse::Signature)
        {
            return Ok(None);
        }
        let all: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => {
                if !MODULUS.contains(&(rsa.n.trim_end_matches('=').len() * 3 / 4)) {
                    return Err("is an RSA key of less than 2048 or more than 8192 bits".to_owned());
                }
                &[
                    Algorithm::RS256,
                    Algorithm::RS384,
                    Algorithm::RS512,
                    Algorithm::PS256,
                    Algorithm::PS384,
                    Algorithm::PS512,
                ]
            }
            AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
                EllipticCurve::P256 => &[Algorithm::ES256],
                EllipticCurve::P384 => &[Algorithm::ES384],
                _ => return Err("is of a curve that narthex does not know: P-256 and P-384 are".to_owned()),
            },
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
            _ => return Err("is of a curve that narthex does not know: Ed25519 is".to_owned()),
        };
        let algorithms: Vec<Algorithm> = match jwk.common.key_algorithm {
            None => all.to_vec(),
            Some(KeyAlgorithm::RSA1_5 | KeyAlgorithm::RSA_OAEP | KeyAlgorithm::RSA_OAEP_256) => return Ok(None),
            Some(named) => {
                let named = Algorithm::try_from(named).ok().filter(|named| all.contains(named));
                vec![named.ok_or("has an \"alg\" that does not fit the key")?]
            }
        };
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| "has parts that are not base64url".to_owned())?;
        Ok(Some(Self {
            id: jwk.common.key_id,
            algorithms,
            key,
        }))
    }

    /// Whether it may have signed a token.
    fn fits(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        let named = match (self.id.as_deref(), id) {
            (Some(own), Some(id)) => own == id,
            _ => true,
        };
        named && self.algorithms.contains(&algorithm)
    }
}

/// What a token that was verified says.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The second, since 1970, from which on it is not valid any more.
    pub until: u64,
    /// What pods get.
    pub fields: Fields,
}

impl Jwt {
    /// What a token has to say.
    pub fn new(keys: Arc<JwtKeys>, (issuers, audiences): (Texts, Texts), leeway: u64, claims: Claims) -> Self {
        let rest = format!("{issuers:?} {audiences:?} {leeway} {claims:?}");
        let id = XxHash3_64::oneshot(&keys.text) ^ XxHash3_64::oneshot(rest.as_bytes()).rotate_left(1);
        Self {
            keys,
            issuers,
            audiences,
            cookie: None,
            leeway,
            claims,
            id,
        }
    }

    /// The same where a cookie may have the token too.
    pub fn with_cookie(self, cookie: Option<Box<str>>) -> Self {
        Self { cookie, ..self }
    }

    /// A number by which it is found. Others may have the same.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Verifies a token: its signature, its times, who issued it, and whom it is for. Never without a signature, and never
    /// by a shared secret: the algorithm of a token has to be one of a key's.
    ///
    /// # Errors
    /// When it is not to be believed, with the reason.
    pub fn verify(&self, token: &[u8]) -> Result<Verified, String> {
        if token.len() > MAX_TOKEN {
            return Err(format!("the token is longer than {MAX_TOKEN} bytes"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| error.to_string())?;
        if let (Some(missing), Some(id)) = (&self.keys.missing, &header.kid)
            && !self.keys.has(id)
        {
            missing.say();
        }
        let fitting = self
            .keys
            .all
            .iter()
            .filter(|key| key.fits(header.alg, header.kid.as_deref()));
        let mut validation = Validation::new(header.alg);
        validation.leeway = self.leeway;
        validation.validate_nbf = true;
        validation.validate_aud = !self.audiences.is_empty();
        if !self.audiences.is_empty() {
            validation.set_audience(&self.audiences);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        if !self.issuers.is_empty() {
            validation.set_issuer(&self.issuers);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        let mut why = "no key fits the token".to_owned();
        for key in fitting.take(MOST_TRIES) {
            match jsonwebtoken::decode::<Map<String, Value>>(token, &key.key, &validation) {
                Ok(data) => return self.verified(&data.claims),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }

    fn verified(&self, claims: &Map<String, Value>) -> Result<Verified, String> {
        // It may have a fraction (RFC 7519, section 2).
        let expires = claims
            .get("exp")
            .and_then(|exp| exp.as_u64().or_else(|| Some(exp.as_f64()? as u64)));
        let expires = expires.ok_or("the token says no time at which it expires")?;
        let mut fields = Fields::new();
        for (claim, field) in &self.claims {
            if let Some(text) = claims.get(&**claim).and_then(text) {
                fields.append(&**field, text.as_bytes());
            }
        }
        let until = expires.saturating_add(self.leeway);
        Ok(Verified { until, fields })
    }

    /// Whether a field of the client's may be taken for a claim.
    pub fn says(&self, name: &[u8]) -> bool {
        let mut fields = self.claims.iter().map(|(_, field)| field.as_bytes());
        fields.any(|field| super::external::is_same_name(field, name))
    }
}

/// A claim as the text of a field; absent where it is none.
fn text(claim: &Value) -> Option<String> {
    let text = match claim {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(is) => is.to_string(),
        Value::Array(all) => {
            let texts: Option<Vec<&str>> = all.iter().map(Value::as_str).collect();
            texts?.join(",")
        }
        Value::Null | Value::Object(_) => return None,
    };
    // Nothing that could end a field.
    (!text.chars().any(char::is_control)).then_some(text)
}

impl fmt::Display for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "jwt(keys={})", self.keys.count())
    }
}
