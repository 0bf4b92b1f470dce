//! Whether a cluster is the member that it is said to be. Pure.

use std::sync::Arc;

use hanse_api::{MemberCluster, conditions::reason};
use kube::ResourceExt as _;

/// What came of trying to join a member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Joining {
    /// It answered.
    Answered {
        /// Uid of its kube-system namespace.
        identity: String,
        /// Its Kubernetes version.
        version: String,
        /// Its platform.
        platform: String,
    },
    /// It does not answer.
    Silent(String),
    /// Its connection cannot be used.
    Refused(String),
}

/// What becomes of a member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It belongs to the federation.
    Joined {
        /// Its Kubernetes version.
        version: String,
        /// Its platform.
        platform: String,
    },
    /// It belongs, once its identity is written down.
    TakesIdentity(String),
    /// It does not answer.
    Silent(String),
    /// It is refused: reason and words.
    Refused(&'static str, String),
}

impl Verdict {
    /// Whether it belongs to the federation and answers.
    pub const fn is_joined(&self) -> bool {
        matches!(self, Self::Joined { .. })
    }

    /// Whether nothing may be done with it.
    pub const fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(..))
    }

    /// The condition Joined: status, reason, message. A member that is silent for a while stays
    /// joined.
    pub fn joined(&self, was_joined: bool) -> (bool, &'static str, String) {
        match self {
            Self::Joined { .. } | Self::TakesIdentity(_) => (true, reason::JOINED, String::new()),
            Self::Silent(_) if was_joined => (true, reason::JOINED, String::new()),
            Self::Silent(words) => (false, reason::UNREACHABLE, words.clone()),
            Self::Refused(why, words) => (false, why, words.clone()),
        }
    }

    /// The condition ApiReachable: status and message; nothing where nobody asked.
    pub fn reachable(&self) -> Option<(bool, String)> {
        match self {
            Self::Joined { .. } | Self::TakesIdentity(_) => Some((true, String::new())),
            Self::Silent(words) => Some((false, words.clone())),
            Self::Refused(..) => None,
        }
    }
}

/// What becomes of a member, by what it answered and who else is there.
pub fn judge(cluster: &MemberCluster, all: &[Arc<MemberCluster>], joining: &Joining) -> Verdict {
    let (identity, version, platform) = match joining {
        Joining::Answered { identity, version, platform } => (identity, version, platform),
        Joining::Silent(words) => return Verdict::Silent(words.clone()),
        Joining::Refused(words) => {
            return Verdict::Refused(reason::KUBECONFIG_INVALID, words.clone());
        }
    };
    let name = cluster.name_any();
    if let Some(known) = cluster.spec.identity.as_ref().filter(|known| *known != identity) {
        let words = format!(
            "behind the connection is another cluster: {name} joined with identity {known}, and \
             {identity} answers; restore the connection, or join the other cluster under a name \
             of its own"
        );
        return Verdict::Refused(reason::IDENTITY_MISMATCH, words);
    }
    // Of two that name the same cluster the older one stays.
    let age = |cluster: &MemberCluster| {
        (cluster.metadata.creation_timestamp.clone().map(|time| time.0), cluster.name_any())
    };
    let twin = all.iter().find(|other| {
        other.name_any() != name
            && other.spec.identity.as_ref() == Some(identity)
            && (cluster.spec.identity.is_none() || age(other) < age(cluster))
    });
    if let Some(twin) = twin {
        let words = format!(
            "this cluster is in the federation already, as {}: delete one of the two \
             MemberClusters",
            twin.name_any()
        );
        return Verdict::Refused(reason::IDENTITY_TAKEN, words);
    }
    if cluster.spec.identity.is_none() {
        return Verdict::TakesIdentity(identity.clone());
    }
    Verdict::Joined { version: version.clone(), platform: platform.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, identity: Option<&str>) -> MemberCluster {
        let mut member = MemberCluster::new(name, hanse_api::MemberClusterSpec::default());
        member.spec.identity = identity.map(str::to_owned);
        member
    }

    fn answers(identity: &str) -> Joining {
        Joining::Answered {
            identity: identity.to_owned(),
            version: "v1.37.0".to_owned(),
            platform: "linux/amd64".to_owned(),
        }
    }

    fn words(verdict: &Verdict) -> (bool, &'static str, String) {
        verdict.joined(true)
    }

    #[test]
    fn a_new_member_takes_the_identity_that_answers_and_is_joined_with_it() {
        let new = member("a", None);
        assert_eq!(judge(&new, &[], &answers("x")), Verdict::TakesIdentity("x".to_owned()));
        assert!(judge(&member("a", Some("x")), &[], &answers("x")).is_joined());
    }

    #[test]
    fn another_cluster_behind_the_connection_is_refused() {
        let verdict = judge(&member("a", Some("x")), &[], &answers("y"));
        let (joined, why, text) = words(&verdict);
        assert_eq!((joined, why), (false, "IdentityMismatch"));
        assert!(text.starts_with("behind the connection is another cluster"), "{text}");
    }

    #[test]
    fn one_cluster_under_two_names_is_refused() {
        let all = [Arc::new(member("a", Some("x"))), Arc::new(member("b", None))];
        let (joined, why, text) = words(&judge(&all[1], &all, &answers("x")));
        assert_eq!((joined, why), (false, "IdentityTaken"));
        assert!(text.contains("as a: delete one of the two"), "{text}");
    }

    #[test]
    fn of_two_that_name_one_cluster_the_older_stays_joined() {
        let born = |name: &str, second| {
            let mut member = member(name, Some("x"));
            let time = jiff::Timestamp::from_second(second).unwrap();
            member.metadata.creation_timestamp =
                Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time));
            Arc::new(member)
        };
        let all = [born("b", 10), born("a", 20)];
        assert!(judge(&all[0], &all, &answers("x")).is_joined());
        let (joined, why, _) = words(&judge(&all[1], &all, &answers("x")));
        assert_eq!((joined, why), (false, "IdentityTaken"));
    }

    #[test]
    fn a_silent_member_stays_joined_and_is_not_reachable() {
        let verdict = judge(&member("a", Some("x")), &[], &Joining::Silent("no answer".to_owned()));
        assert_eq!(verdict.joined(true), (true, "Joined", String::new()));
        assert_eq!(verdict.joined(false), (false, "Unreachable", "no answer".to_owned()));
        assert_eq!(verdict.reachable(), Some((false, "no answer".to_owned())));
    }

    #[test]
    fn a_refused_kubeconfig_is_said_so() {
        let refused = Joining::Refused("users[u].user.exec is refused".to_owned());
        let (joined, why, text) = words(&judge(&member("a", None), &[], &refused));
        assert_eq!((joined, why), (false, "KubeconfigInvalid"));
        assert_eq!(text, "users[u].user.exec is refused");
    }
}
