//! Whether a client may come in, where it takes time to find out.

use super::error::ProxyError;
use super::passwords::Checked;
use super::worker::Worker;
use crate::message::{Field, Fields, Name, Request, Value};
use crate::table::{Access, Basic};
use std::rc::Rc;
use std::sync::Arc;

/// A client that was let in.
pub struct Granted {
    /// By what.
    pub by: Arc<Access>,
}

impl Granted {
    /// Whether it was asked for just this.
    pub fn is_by(&self, access: &Arc<Access>) -> bool {
        Arc::ptr_eq(&self.by, access) || self.by == *access
    }

    /// Whether a field of the client's does not reach the pod.
    pub fn takes(&self, field: Field<'_>) -> bool {
        field.known == Name::Authorization && self.by.basic.is_some()
    }
}

/// A client that was not let in.
pub struct Refused {
    pub error: ProxyError,
    /// What exactly, where more is known.
    pub cause: Option<String>,
    /// Fields of the reply.
    pub fields: Fields,
}

impl From<ProxyError> for Refused {
    fn from(error: ProxyError) -> Self {
        Self {
            error,
            cause: None,
            fields: Fields::new(),
        }
    }
}

/// Asks a client who it is.
///
/// # Errors
/// What it is told if it may not come in.
pub async fn ask(worker: &Rc<Worker>, request: &Request, access: &Arc<Access>) -> Result<Granted, Refused> {
    if let Some(basic) = &access.basic {
        by_password(worker, request, basic).await?;
    }
    Ok(Granted { by: access.clone() })
}

async fn by_password(worker: &Worker, request: &Request, basic: &Basic) -> Result<(), Refused> {
    let mut said = request.fields.get_all(&Name::Authorization).map(Value::as_bytes);
    let checked = match (said.next(), said.next()) {
        (Some(said), None) => {
            let (checked, forgotten) = worker.settings.passwords.check(&basic.users, said).await;
            if forgotten > 0 {
                worker.counters.passwords_forgotten.add();
            }
            checked
        }
        // Of two lines nobody knows which the pod would read.
        _ => Checked::Wrong,
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
