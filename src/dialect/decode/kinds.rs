//! Kinds and versions that do not exist, told from those that are none of our business.

use crate::model::Kind;
use crate::model::kind::group_and_version;
use crate::model::nearest::{is_near, nearest};

/// The groups of the kinds narthex reads, with all kinds they ever had. The core group has no name; OpenShift 3 had kinds
/// of its own in it.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "Binding",
            "Build",
            "BuildConfig",
            "ComponentStatus",
            // What kubectl itself is configured with.
            "Config",
            "ConfigMap",
            "DeleteOptions",
            "DeploymentConfig",
            "Endpoints",
            "Event",
            "Group",
            "ImageStream",
            "ImageStreamTag",
            "LimitRange",
            "List",
            "Namespace",
            "Node",
            "NodeProxyOptions",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "Pod",
            "PodAttachOptions",
            "PodExecOptions",
            "PodLogOptions",
            "PodPortForwardOptions",
            "PodProxyOptions",
            "PodStatusResult",
            "PodTemplate",
            "RangeAllocation",
            "ReplicationController",
            "ResourceQuota",
            "Role",
            "RoleBinding",
            "Route",
            "Secret",
            "SerializedReference",
            "Service",
            "ServiceAccount",
            "ServiceProxyOptions",
            "Status",
            "Template",
            "User",
        ],
    ),
    (
        "networking.k8s.io",
        &[
            "ClusterCIDR",
            "IPAddress",
            "Ingress",
            "IngressClass",
            "NetworkPolicy",
            "ServiceCIDR",
        ],
    ),
    ("discovery.k8s.io", &["EndpointSlice"]),
    ("route.openshift.io", &["Route"]),
    (
        "gateway.networking.k8s.io",
        &[
            "BackendTLSPolicy",
            "GRPCRoute",
            "Gateway",
            "GatewayClass",
            "HTTPRoute",
            "ListenerSet",
            "ReferenceGrant",
            "TCPRoute",
            "TLSRoute",
            "UDPRoute",
        ],
    ),
    (
        "extensions",
        &[
            "DaemonSet",
            "Deployment",
            "DeploymentRollback",
            "HorizontalPodAutoscaler",
            "Ingress",
            "Job",
            "NetworkPolicy",
            "PodSecurityPolicy",
            "ReplicaSet",
            "ReplicationControllerDummy",
            "Scale",
            "ThirdPartyResource",
        ],
    ),
];

/// Whether an `apiVersion` is of one of the groups, or was meant to be. Groups of others have names with dots, and may
/// have a kind of ours: OpenShift and Knative have an Ingress too.
fn means_ours(api_version: &str) -> bool {
    let (group, version) = group_and_version(api_version);
    let slip = |known: &str| {
        let stem = known.split('.').next().unwrap_or_default();
        is_near(group, known) || (!known.is_empty() && group.eq_ignore_ascii_case(stem))
    };
    match group {
        "" => version.starts_with(['v', 'V']) || version.ends_with("k8s.io"),
        _ if !group.contains('.') => true,
        _ => GROUPS.iter().any(|(known, _)| !known.is_empty() && slip(known)) || group.starts_with("networking.k8s"),
    }
}

/// What is wrong with the version of a kind of our name; absent where it is another group's kind.
pub fn wrong_version(kind: Kind, api_version: &str) -> Option<String> {
    means_ours(api_version).then(|| {
        let right = kind.api_version();
        format!("there is no {kind} in \"{api_version}\"; the current one is \"{right}\"")
    })
}

/// What is wrong with a kind that narthex does not read; absent where it exists, or may exist.
pub fn unknown(api_version: &str, kind: &str) -> Option<String> {
    let (group, _) = group_and_version(api_version);
    let known = GROUPS
        .iter()
        .find(|(known, _)| *known == group)
        .map(|(_, kinds)| *kinds);
    let is_list = |kinds: &[&str]| kind.strip_suffix("List").is_some_and(|of| kinds.contains(&of));
    let (exists, meant) = match known {
        Some(kinds) => (kinds.contains(&kind) || is_list(kinds), meant(kind, kinds)),
        // In a group without a dot that narthex does not know (`apps`, `batch`) nearly everything is right.
        None => {
            let ours = Kind::ALL.map(Kind::name);
            let meant = nearest(kind, ours).filter(|_| means_ours(api_version));
            (meant.is_none_or(|meant| !kind.eq_ignore_ascii_case(meant)), meant)
        }
    };
    if exists {
        return None;
    }
    let hint = meant
        .map(|meant| format!(": did you mean {meant}?"))
        .unwrap_or_default();
    Some(format!(
        "there is no kind {kind} in \"{api_version}\", so it is ignored{hint}"
    ))
}

/// The kind that was meant: plurals and short names are what kubectl is told elsewhere.
fn meant<'k>(kind: &str, kinds: &[&'k str]) -> Option<&'k str> {
    let written = kind.to_lowercase();
    let other_name = Kind::ALL.into_iter().find(|known| {
        let facts = known.facts();
        facts.plural == written || facts.short.contains(&written.as_str())
    });
    let other_name = other_name.map(Kind::name);
    kinds
        .iter()
        .copied()
        .find(|known| Some(*known) == other_name)
        .or_else(|| nearest(kind, kinds.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_told_from_what_others_have() {
        for (api_version, kind, wanted) in [
            ("networking.k8s.io/v1", "ingress", Some("did you mean Ingress?")),
            ("networking.k8s.io/v1", "Ingresss", Some("did you mean Ingress?")),
            ("networking.k8s.io/v1", "ingresses", Some("did you mean Ingress?")),
            ("networking/v1", "ingress", Some("did you mean Ingress?")),
            ("v1", "service", Some("did you mean Service?")),
            ("v1", "list", Some("did you mean List?")),
            ("v1", "Widget", Some("there is no kind Widget in \"v1\"")),
            ("v1", "ConfigMap", None),
            ("v1", "SecretList", None),
            ("networking.k8s.io/v1", "NetworkPolicy", None),
            ("networking.k8s.io/v1beta1", "IngressClassList", None),
            ("extensions/v1beta1", "Deployment", None),
            ("apps/v1", "Deployment", None),
            ("apps/v1", "service", Some("did you mean Service?")),
            ("serving.knative.dev/v1", "service", None),
            ("example.com/v1", "Ingres", None),
            ("batch/v1", "Job", None),
        ] {
            let said = unknown(api_version, kind);
            let fits = match (&said, wanted) {
                (None, None) => true,
                (Some(said), Some(wanted)) => said.contains(wanted),
                _ => false,
            };
            assert!(fits, "{api_version} {kind}: {said:?}");
        }
        for (kind, api_version, wrong) in [
            (Kind::Ingress, "networking/v1", true),
            (Kind::Ingress, "networking.k8s.io/v2", true),
            (Kind::Ingress, "networking.k8s.io", true),
            (Kind::Ingress, "networking.k8s/v1", true),
            (Kind::Ingress, "Networking.k8s.io/v1", true),
            (Kind::Ingress, "extension/v1beta1", true),
            (Kind::Ingress, "v1", true),
            (Kind::Service, "core/v1", true),
            (Kind::Service, "V1", true),
            (Kind::Service, "apps/v1", true),
            (Kind::Ingress, "config.openshift.io/v1", false),
            (Kind::Ingress, "networking.internal.knative.dev/v1alpha1", false),
            (Kind::Service, "serving.knative.dev/v1", false),
            (Kind::Secret, "vault.example.com/v1", false),
        ] {
            assert_eq!(
                wrong_version(kind, api_version).is_some(),
                wrong,
                "{kind} {api_version}"
            );
        }
    }
}
