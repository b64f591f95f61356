//! What is noted of a connection that is passed on as it came: in the numbers of its route, and in the access log.

use super::error::ProxyError;
use super::peer::Ends;
use super::worker::Worker;
use crate::message::Fields;
use crate::policy::rate::Asker;
use crate::policy::under_way::Place;
use crate::table::{Before, Endpoint, Guard, Route};
use crate::telemetry::access::{self, Entry, Format};
use crate::telemetry::traffic::Traffic;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A connection under way. It is counted as one request of its route: with 2xx where a pod took it, and else with what a
/// request would have got.
pub struct PassedOn {
    began: Instant,
    route: Option<Arc<Route>>,
    traffic: Option<Arc<Traffic>>,
    server_name: Box<str>,
    /// `tls` or `tcp`.
    scheme: &'static str,
    client: SocketAddr,
    connect: Option<Duration>,
    /// What it takes of limits of connections.
    places: Vec<Place>,
    /// Bytes from the client, and from the pod.
    pub bytes: (u64, u64),
}

impl PassedOn {
    /// A connection begins.
    pub fn begins(
        worker: &Worker,
        route: Option<&Arc<Route>>,
        (scheme, server_name): (&'static str, Option<&str>),
        ends: &Ends,
    ) -> Self {
        let counted = route.filter(|_| worker.settings.count_routes);
        let traffic = counted.map(|route| worker.traffic(route));
        if let Some(traffic) = &traffic {
            traffic.in_flight.set(traffic.in_flight.get() + 1);
        }
        Self {
            began: Instant::now(),
            route: route.cloned(),
            traffic,
            server_name: server_name.unwrap_or_default().into(),
            scheme,
            client: ends.client,
            connect: None,
            places: Vec::new(),
            bytes: (0, 0),
        }
    }

    /// Whether it may be passed on: what its rule asks of requests holds for it as far as that goes by the client's address.
    ///
    /// # Errors
    /// What a request would be refused with.
    pub fn admit(&mut self, worker: &Worker, route: Option<&Route>, guard: Option<&Guard>) -> Result<(), ProxyError> {
        match guard {
            Some(guard) if guard.invalid => return Err(ProxyError::GuardInvalid),
            Some(_) => return Err(ProxyError::GuardNotEnforced),
            None => {}
        }
        let client = self.client.ip().to_canonical();
        for step in route.iter().flat_map(|route| &route.policies.before) {
            match step {
                Before::Addresses(addresses) if !addresses.admits(client) => {
                    return Err(ProxyError::AddressNotAllowed);
                }
                Before::Rates(rates) => {
                    let asker = Asker {
                        client,
                        host: Some(&self.server_name),
                        fields: &Fields::new(),
                    };
                    if !worker.settings.buckets.admit(rates, &asker).passes {
                        return Err(ProxyError::TooOften(rates.status));
                    }
                }
                Before::Connections(limit) => {
                    let (may, place) = worker.settings.under_way.enter(limit, client);
                    if !may {
                        return Err(ProxyError::TooManyUnderWay(limit.status));
                    }
                    self.places.extend(place);
                }
                // Nobody can be asked who it is.
                Before::Access(_) => return Err(ProxyError::GuardNotEnforced),
                // It goes by the address, and it has passed.
                Before::Addresses(_) => {}
                // These are about requests, of which nothing is seen here. A new step has to be put on one side.
                Before::ErrorPages(_)
                | Before::RedirectToHttps(_)
                | Before::HttpsOnly
                | Before::PlainOnly
                | Before::BodyLimit(_)
                | Before::Blocked(_)
                | Before::Cors(_)
                | Before::Fields(_)
                | Before::Host(_)
                | Before::Redirect(_)
                | Before::SendTo(_)
                | Before::Return(_)
                | Before::Rewrite(_)
                | Before::Mirror(_) => {}
            }
        }
        Ok(())
    }

    /// A pod has taken it, after so long.
    pub fn connected(&mut self, after: Duration) {
        self.connect = Some(after);
        if let Some(traffic) = &self.traffic {
            traffic.pod.record(after);
        }
    }

    /// It is over, and was passed on, or not.
    pub fn ends(self, worker: &Worker, passed: Result<(), ProxyError>, endpoint: Option<&Endpoint>) {
        let verdict = passed.err().map(|error| error.verdict());
        let status = verdict.map_or(200, |verdict| verdict.status.as_u16());
        if let Some(traffic) = &self.traffic {
            let class = usize::from(status / 100).wrapping_sub(1);
            if let Some(code) = traffic.codes.first().and_then(|codes| codes.get(class)) {
                code.add();
            }
            traffic.bytes_in.add_many(self.bytes.0);
            traffic.bytes_out.add_many(self.bytes.1);
        }
        let route = self.route.as_ref();
        let is_unlogged = route.is_some_and(|route| route.policies.is_unlogged);
        let Some(log) = worker.access_log.as_ref().filter(|_| !is_unlogged) else {
            return;
        };
        let total = self.began.elapsed();
        if !log.wants(status, total, route.map(|route| route.key)) {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let client: IpAddr = self.client.ip().to_canonical();
        let (route, origin) = (
            route.map(|route| route.describe()),
            route.map(|route| route.origin.to_string()),
        );
        let entry = Entry {
            at: now.saturating_sub(total),
            client,
            peer: self.client,
            scheme: self.scheme,
            tls: None,
            method: None,
            protocol: None,
            host: self.server_name.as_bytes(),
            target: b"",
            status,
            reason: verdict.map(|verdict| verdict.label),
            side: verdict.map(|verdict| verdict.side.name()),
            cause: None,
            route: route.as_deref(),
            origin: origin.as_deref(),
            service: None,
            endpoint: endpoint.map(|endpoint| access::Endpoint {
                address: endpoint.address,
                pod: endpoint.pod.as_deref(),
            }),
            retries: 0,
            bytes_in: self.bytes.0,
            bytes_out: self.bytes.1,
            total,
            connect: self.connect,
            backend: None,
            request_id: b"",
            trace_id: None,
            headers: &[],
            response_headers: &[],
            count: match log.options().format {
                Format::Traefik => worker.requests(),
                _ => 0,
            },
        };
        let lost = log.write(&entry, worker.counters.in_flight.get() == 0);
        worker.counters.access_log_dropped.add_many(lost);
    }
}

impl Drop for PassedOn {
    /// However it ends, also where its task is ended.
    fn drop(&mut self) {
        if let Some(traffic) = &self.traffic {
            traffic.in_flight.set(traffic.in_flight.get().saturating_sub(1));
        }
    }
}
