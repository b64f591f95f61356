//! Whether a client may come in, where it takes time to find out.

use super::canonical::Canonical;
use super::certificate::Told;
use super::client::Client;
use super::error::ProxyError;
use super::forward::ForwardError;
use super::headers::joined_cookie;
use super::names::{is_hop_by_hop, is_managed, misleads};
use super::passwords::Checked;
use super::remembered::Question;
use super::request_id::RequestId;
use super::subrequest::{self, NoReply, SubRequest};
use super::worker::Worker;
use crate::http1::fold;
use crate::message::{Field, Fields, Name, Request, Response, Value};
use crate::policy::digests::{self, Shown};
use crate::table::decide::{Ask, MAX_HOPS, Outcome, Subject, decide, known};
use crate::table::sticky::cookies;
use crate::table::{
    Access, Addresses, At, Backend, Basic, Before, Digest, External, Jwt, Known, Route, Satisfy, Table,
};
use http::{HeaderValue, StatusCode};
use std::rc::Rc;
use std::sync::Arc;

/// Bytes that the body of an answer may have. Nobody looks at it, but all of it is read.
const LONGEST_ANSWER: usize = 64 << 10;

/// The fields by which a service is told of the client's request, in lower case.
const TOLD: &[&str] = &[
    "x-original-url",
    "x-original-method",
    "x-original-uri",
    "x-sent-from",
    "x-auth-request-redirect",
    "x-scheme",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
    "x-narthex-hops",
];

/// A request whose client is asked.
#[derive(Clone, Copy)]
pub struct Asked<'r> {
    pub worker: &'r Rc<Worker>,
    pub client: &'r Rc<Client>,
    pub request: &'r Request,
    pub ask: &'r Ask<'r>,
    pub canonical: &'r Canonical<'r>,
    pub route: &'r Route,
    /// What is told of the client's certificate.
    pub told: Option<&'r Told>,
    pub table: &'r Table,
    pub id: &'r RequestId,
}

/// A client that was let in.
pub struct Granted {
    /// By what.
    pub by: Arc<Access>,
    /// What the pod gets of the answer of the service that was asked.
    pub fields: Fields,
    /// The cookies that this service sets.
    cookies: Fields,
}

impl Granted {
    fn new(by: &Arc<Access>) -> Self {
        Self {
            by: by.clone(),
            fields: Fields::new(),
            cookies: Fields::new(),
        }
    }

    /// Whether it was asked for just this.
    pub fn is_by(&self, access: &Arc<Access>) -> bool {
        Arc::ptr_eq(&self.by, access) || self.by == *access
    }

    /// Whether a field of the client's does not reach the pod.
    pub fn takes(&self, field: Field<'_>) -> bool {
        let by = &*self.by;
        let is_of = |scheme: &[u8]| {
            let said = field.value.as_bytes().get(..scheme.len());
            said.is_some_and(|said| said.eq_ignore_ascii_case(scheme))
        };
        let is_hidden = || {
            let basic = by.basic.as_ref().is_some_and(|basic| !basic.is_kept);
            // Where nothing else is asked for, nothing else goes to the pod either.
            let is_alone = by.jwt.is_none() && (by.basic.is_none() || by.digest.is_none());
            (basic && (is_alone || is_of(b"Basic "))) || (by.digest.is_some() && (is_alone || is_of(b"Digest ")))
        };
        (field.known == Name::Authorization && is_hidden())
            || by.jwt.as_ref().is_some_and(|jwt| jwt.says(field.name))
            || by.external.as_ref().is_some_and(|external| external.says(field.name))
    }

    /// Sets the cookies of the service with a reply.
    pub fn decorate(&self, status: StatusCode, fields: &mut Fields) {
        let external = self.by.external.as_ref();
        if external.is_some_and(|external| external.sets_cookies(status)) {
            fields.extend(&self.cookies);
        }
    }
}

/// A client that was not let in.
pub struct Refused {
    pub why: Why,
    /// Fields of the reply.
    pub fields: Fields,
}

/// What it gets.
pub enum Why {
    /// An error.
    Error(ForwardError),
    /// It is sent elsewhere to sign in.
    SignIn(HeaderValue),
}

impl From<ForwardError> for Refused {
    fn from(error: ForwardError) -> Self {
        Self {
            why: Why::Error(error),
            fields: Fields::new(),
        }
    }
}

impl From<ProxyError> for Refused {
    fn from(error: ProxyError) -> Self {
        ForwardError::from(error).into()
    }
}

impl From<NoReply> for Refused {
    /// Nobody is let in by a service that does not say so.
    fn from(failure: NoReply) -> Self {
        let error = ForwardError {
            error: ProxyError::AccessUnknown,
            endpoint: failure.endpoint,
            cause: Some(failure.cause),
        };
        error.into()
    }
}

impl Refused {
    fn is(&self, error: ProxyError) -> bool {
        matches!(&self.why, Why::Error(failure) if failure.error == error)
    }

    /// Whether another way to come in may still be tried.
    fn is_plain(&self) -> bool {
        self.is(ProxyError::Unauthorized) || self.is(ProxyError::NotAdmitted)
    }
}

/// Asks a client who it is.
///
/// # Errors
/// What it is told if it may not come in.
pub async fn ask(asked: &Asked<'_>, access: &Arc<Access>) -> Result<Granted, Refused> {
    let any = match &access.satisfy {
        Satisfy::All => false,
        Satisfy::Any(addresses) => {
            let address = asked.client.address();
            // To be on no list of denied addresses says nothing of who a client is.
            let by_password = access.basic.is_some() || access.digest.is_some();
            let alone = !by_password && access.jwt.is_none() && access.external.is_none();
            let admits = |addresses: &Addresses| (alone || addresses.allow.is_some()) && addresses.admits(address);
            if addresses.as_deref().is_some_and(admits) {
                return Ok(Granted::new(access));
            }
            true
        }
    };
    let mut refused = None;
    if let Some(basic) = &access.basic {
        match by_password(asked.worker, asked.request, basic).await {
            Ok(()) if any => return Ok(Granted::new(access)),
            Ok(()) => {}
            Err(why) if any && why.is_plain() => refused = Some(why),
            Err(why) => return Err(sign_in(asked, access, why)),
        }
    }
    if let Some(digest) = &access.digest {
        match by_digest(asked.worker, asked.request, digest) {
            Ok(()) if any => return Ok(Granted::new(access)),
            Ok(()) => {}
            Err(mut why) if any && why.is_plain() => {
                // Both ways to come in are told.
                if let Some(before) = &refused {
                    why.fields.extend(&before.fields);
                }
                refused = Some(why);
            }
            Err(why) => return Err(sign_in(asked, access, why)),
        }
    }
    let mut claims = Fields::new();
    if let Some(jwt) = &access.jwt {
        match by_token(asked.worker, asked.request, jwt) {
            Ok(fields) => {
                claims = fields;
                if any {
                    return Ok(Granted {
                        fields: claims,
                        ..Granted::new(access)
                    });
                }
            }
            Err(mut why) if any && why.is_plain() => {
                // Both ways to come in are told.
                if let Some(before) = &refused {
                    why.fields.extend(&before.fields);
                }
                refused = Some(why);
            }
            Err(why) => return Err(sign_in(asked, access, why)),
        }
    }
    if let Some(external) = &access.external {
        match by_service(asked, access, external).await {
            Ok(mut granted) => {
                granted.fields.extend(&claims);
                return Ok(granted);
            }
            // A client that may still sign in is told so.
            Err(why) if refused.is_none() || why.is(ProxyError::Unauthorized) || !why.is_plain() => {
                refused = Some(why);
            }
            Err(_) => {}
        }
    }
    match refused {
        Some(why) => Err(sign_in(asked, access, why)),
        None if any => Err(ProxyError::AddressNotAllowed.into()),
        None => Ok(Granted {
            fields: claims,
            ..Granted::new(access)
        }),
    }
}

/// `Authorization`. Of two lines nobody knows which the pod would read.
fn authorization(request: &Request) -> Option<&[u8]> {
    let mut said = request.fields.get_all(&Name::Authorization).map(Value::as_bytes);
    said.next().filter(|_| said.next().is_none())
}

/// The token in the cookie that may have it. Of two nobody knows which the pod would read.
fn of_cookie<'r>(request: &'r Request, jwt: &Jwt) -> Option<&'r [u8]> {
    let mut said = cookies(&request.fields, jwt.cookie.as_deref()?);
    said.next().filter(|_| said.next().is_none())
}

/// What a token says of its client (RFC 6750).
fn by_token(worker: &Worker, request: &Request, jwt: &Arc<Jwt>) -> Result<Fields, Refused> {
    let token = authorization(request)
        .and_then(|said| said.split_at_checked(7))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "));
    let token = token.map(|(_, token)| token).or_else(|| of_cookie(request, jwt));
    let refuse = |challenge: &str, cause| {
        let mut refused = Refused::from(ForwardError {
            error: ProxyError::Unauthorized,
            endpoint: None,
            cause,
        });
        refused.fields.append(&Name::WwwAuthenticate, challenge);
        refused
    };
    let Some(token) = token else {
        return Err(refuse("Bearer realm=\"Restricted\"", None));
    };
    match worker.settings.tokens.check(jwt, token.trim_ascii()) {
        Ok((fields, forgotten)) => {
            if forgotten > 0 {
                worker.counters.tokens_forgotten.add();
            }
            Ok(fields)
        }
        Err(why) => Err(refuse(
            "Bearer realm=\"Restricted\", error=\"invalid_token\"",
            Some(why),
        )),
    }
}

async fn by_password(worker: &Worker, request: &Request, basic: &Basic) -> Result<(), Refused> {
    let checked = match authorization(request) {
        Some(said) => {
            let (checked, forgotten) = worker.settings.passwords.check(&basic.users, said).await;
            if forgotten > 0 {
                worker.counters.passwords_forgotten.add();
            }
            checked
        }
        None => Checked::Wrong,
    };
    match checked {
        Checked::Right => Ok(()),
        Checked::Busy => Err(ProxyError::PasswordsBusy.into()),
        Checked::Wrong => {
            let mut refused = Refused::from(ProxyError::Unauthorized);
            refused.fields.append(&Name::WwwAuthenticate, &basic.challenge);
            Err(refused)
        }
    }
}

/// Whether a client has shown a digest of a password (RFC 7616).
fn by_digest(worker: &Worker, request: &Request, digest: &Digest) -> Result<(), Refused> {
    let digests = &worker.settings.digests;
    let asked = digests::Asked {
        method: request.method.as_str(),
        target: request.target(),
        host: request.host(),
    };
    let shown = authorization(request).map(|said| digests.check(digest, said, asked));
    let (shown, forgotten) = shown.unwrap_or((Shown::Wrong, 0));
    worker.counters.nonces_forgotten.add_many(forgotten.into());
    if shown == Shown::Right {
        return Ok(());
    }
    let Some(challenges) = digests.challenges(digest, shown == Shown::Stale) else {
        return Err(ProxyError::PasswordsBusy.into());
    };
    let mut refused = Refused::from(ProxyError::Unauthorized);
    for challenge in challenges {
        refused.fields.append(&Name::WwwAuthenticate, &challenge);
    }
    Err(refused)
}

/// Sends a client that has not shown who it is where it can sign in, if there is such a place.
fn sign_in(asked: &Asked<'_>, access: &Access, refused: Refused) -> Refused {
    let place = access.external.as_ref().and_then(|external| external.sign_in.as_ref());
    let Some(place) = place.filter(|_| refused.is(ProxyError::Unauthorized)) else {
        return refused;
    };
    let location = place
        .expand(&known(asked.ask, asked.canonical, asked.route))
        .to_string();
    let Ok(location) = HeaderValue::try_from(location) else {
        return refused;
    };
    let mut fields = Fields::new();
    for cookie in refused.fields.get_all(&Name::SetCookie) {
        fields.append(&Name::SetCookie, cookie.as_bytes());
    }
    Refused {
        why: Why::SignIn(location),
        fields,
    }
}

/// Asks a service whether a client may come in.
async fn by_service(asked: &Asked<'_>, access: &Arc<Access>, external: &External) -> Result<Granted, Refused> {
    let question = Question::of(asked, external);
    let known_answer = question.as_ref().and_then(|question| question.answer(asked.worker));
    if let Some(answer) = known_answer {
        return judge(access, external, answer.status, &answer.fields);
    }
    let reply = ask_service(asked, external).await?;
    if let Some(question) = question {
        question.remember(asked.worker, reply.status, &reply.fields);
    }
    judge(access, external, reply.status, &reply.fields)
}

/// What follows from the answer of a service.
fn judge(access: &Arc<Access>, external: &External, status: StatusCode, fields: &Fields) -> Result<Granted, Refused> {
    let mut cookies = Fields::new();
    for cookie in fields.get_all(&Name::SetCookie) {
        cookies.append(&Name::SetCookie, cookie.as_bytes());
    }
    let error = match status {
        status if status.is_success() => {
            let mut granted = Granted::new(access);
            for name in &external.fields {
                for value in fields.get_all(&**name) {
                    granted.fields.append(&**name, value.as_bytes());
                }
            }
            granted.cookies = cookies;
            return Ok(granted);
        }
        StatusCode::UNAUTHORIZED => ProxyError::Unauthorized,
        _ => ProxyError::NotAdmitted,
    };
    let mut refused = Refused::from(error);
    for challenge in fields.get_all(&Name::WwwAuthenticate) {
        refused.fields.append(&Name::WwwAuthenticate, challenge.as_bytes());
    }
    let signs_in = error == ProxyError::Unauthorized && external.sign_in.is_some();
    if signs_in || external.always_sets_cookies {
        refused.fields.extend(&cookies);
    }
    Err(refused)
}

/// Asks it. What is neither 2xx nor 401 or 403 is no answer.
async fn ask_service(asked: &Asked<'_>, external: &External) -> Result<Response, Refused> {
    let known = known(asked.ask, asked.canonical, asked.route);
    let target = encoded(&external.target.expand(&known));
    let (backend, host, target) = match &external.at {
        At::Backend(id, host) => {
            let backend = asked.table.backend(*id).ok_or(ProxyError::AccessUnknown)?;
            (backend.clone(), host.as_bytes().to_vec(), target)
        }
        At::SameHost { secure } => {
            let (backend, target) = at_same_host(asked, external, *secure, &target)?;
            let host = asked.canonical.host_header.unwrap_or_default();
            (backend, host.as_bytes().to_vec(), target)
        }
    };
    let hops = asked.ask.hops_with_this();
    if hops > MAX_HOPS {
        return Err(ProxyError::Loop.into());
    }
    let sub = SubRequest {
        backend: &backend,
        method: &external.method,
        head: head(asked, external, &host, &target, hops),
        body: None,
        patience: external.patience,
        most: LONGEST_ANSWER,
        keeps: false,
    };
    let reply = subrequest::send(asked.worker, asked.client, &sub).await?.head;
    match reply.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(reply),
        status if status.is_success() => Ok(reply),
        status => {
            let why = format!("{backend} answered with {}", status.as_u16());
            Err(NoReply::from(why.as_str()).into())
        }
    }
}

/// Where the host of a request leads with another path, and the target that is asked for there.
fn at_same_host(
    asked: &Asked<'_>,
    external: &External,
    secure: bool,
    target: &str,
) -> Result<(Arc<Backend>, String), Refused> {
    let nobody = |why: &str| Refused::from(NoReply::from(why));
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let ask = Ask {
        method: &external.method,
        path,
        query,
        secure,
        expect: None,
        length: None,
        websocket: false,
        ..asked.ask.clone()
    };
    let rules = asked.worker.settings.rules();
    let Ok(Subject::Resource(canonical)) = ask.subject(&rules) else {
        return Err(nobody("the path to ask for is malformed"));
    };
    let decision = decide(asked.table, &ask, &canonical, &rules);
    if decision.passed.iter().any(|step| matches!(step, Before::Access(_))) {
        return Err(nobody("what would be asked asks who the client is itself"));
    }
    let Outcome::Forward {
        route, backend, path, ..
    } = decision.outcome
    else {
        return Err(nobody("no pod answers for what would be asked"));
    };
    // A request may be answered by a rule for more hosts than its own. Whoever has rules for its host alone must not answer
    // who may come in by that one.
    if route.host != asked.route.host {
        return Err(nobody("what would be asked belongs to a rule for other hosts"));
    }
    let mut target = path.unwrap_or_else(|| canonical.path.form(route.keep_slashes).to_owned());
    if let Some(query) = query {
        target.push('?');
        target += query;
    }
    Ok((backend.clone(), target))
}

/// A target without what would end it.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

/// The head of the request to a service: the client's fields, without those that are for one hop or about the body, and
/// what it is told of the request.
fn head(asked: &Asked<'_>, external: &External, host: &[u8], target: &str, hops: u8) -> Vec<u8> {
    let known = known(asked.ask, asked.canonical, asked.route);
    let mut out = Vec::with_capacity(asked.request.fields.size() + 1024);
    let mut write = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    write(&[
        external.method.as_str().as_bytes(),
        b" ",
        target.as_bytes(),
        b" HTTP/1.1\r\n",
    ]);
    write(&[b"Host: ", host, b"\r\n"]);
    let fields = &asked.request.fields;
    let named = super::facts::connection_options(fields);
    let passes = |field: &Field<'_>| passes(*field, asked.client.peer.trusted) && !external.told.replaces(field.name);
    for field in fields.iter().filter(passes) {
        let is_taken = asked.told.is_some() && Told::takes(field.name);
        if !is_taken && !named.iter().any(|name| field.name.eq_ignore_ascii_case(name)) {
            write(&[field.name, b": ", field.value.as_bytes(), b"\r\n"]);
        }
    }
    for field in asked.told.into_iter().flat_map(|told| told.fields.iter()) {
        write(&[field.name, b": ", field.value.as_bytes(), b"\r\n"]);
    }
    let cookie = joined_cookie(fields);
    if !cookie.is_empty() && !external.told.replaces(b"cookie") {
        write(&[b"Cookie: ", &cookie, b"\r\n"]);
    }
    let scheme = if known.secure { "https" } else { "http" };
    let asked_host = asked.canonical.host_header.unwrap_or_default();
    let query = known.query.map(|query| format!("?{query}")).unwrap_or_default();
    let uri = format!("{}{query}", known.path);
    let address = asked.client.address().to_string();
    let returns_to = external.returns_to(&known).unwrap_or_else(|| uri.clone());
    let mut told = |name: &str, value: &str| {
        if !external.told.replaces(name.as_bytes()) {
            write(&[name.as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
        }
    };
    told("X-Original-URL", &format!("{scheme}://{asked_host}{uri}"));
    told("X-Original-Method", asked.request.method.as_str());
    if external.tells_more {
        told("X-Original-URI", &uri);
        told("X-Scheme", scheme);
    }
    told("X-Sent-From", "nginx-ingress-controller");
    told("X-Auth-Request-Redirect", &encoded(&returns_to));
    told("X-Real-IP", &address);
    told("X-Forwarded-For", &address);
    told("X-Request-ID", asked.id.as_str());
    told("X-Narthex-Hops", &hops.to_string());
    let more = external.told.expand(&Known {
        request_id: Some(asked.id.as_str()),
        ..known
    });
    more.write_lines(0..more.len(), &mut out);
    out.extend_from_slice(b"\r\n");
    out
}

/// Whether a field of the client's is told to a service.
fn passes(field: Field<'_>, trusted: bool) -> bool {
    let goes = match field.known {
        Name::Host | Name::Expect | Name::ContentLength | Name::Cookie | Name::Trailer => true,
        known if is_hop_by_hop(known) || misleads(known, field.name) => true,
        known => !trusted && is_managed(known, field.name),
    };
    let is_told = |name: &&str| -> bool {
        let same = |one: u8, other: u8| one == fold(other);
        name.len() == field.name.len() && name.bytes().zip(field.name).all(|(one, other)| same(one, *other))
    };
    !goes && !TOLD.iter().any(is_told)
}
