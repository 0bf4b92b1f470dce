//! The command line as a value. Knows nothing of what the verbs do.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Many Kubernetes clusters, one place to deploy and one address to call.
#[derive(Debug, Parser)]
#[command(name = "hanse", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Options every verb understands, as kubectl has them.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// Path of the kubeconfig; else KUBECONFIG, else what `hanse up` wrote, else ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, global = true)]
    pub(crate) context: Option<String>,
    /// Namespace; else that of the context
    #[arg(short, long, global = true)]
    pub(crate) namespace: Option<String>,
    /// Form of the result
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// Form of the result on standard output.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// For people with wide screens.
    Wide,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
    /// Names only, one a line.
    Name,
    /// A picture, of explain and plan.
    Svg,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a whole federation in this process: hub, simulated members, relays and gateways
    Up(Up),
    /// Run the hub's controllers against a Kubernetes API
    Hub(Hub),
    /// Run a member's relay
    Agent(Agent),
    /// Run a member's gateway
    Gateway(Gateway),
    /// Bring a cluster into the federation
    Join(Join),
    /// Take a cluster out of the federation
    Leave {
        /// Name of the member
        name: String,
    },
    /// Show the fleet: providers, regions, clusters, room, replicas
    Status,
    /// Show where a template runs and its state in each cluster
    Tree {
        /// KIND/NAME, for instance deployment/frontend
        template: String,
    },
    /// Say why a template is where it is
    Explain {
        /// KIND/NAME, for instance deployment/frontend
        template: String,
    },
    /// Show what a cluster gets of a template, and which rule changed or stripped what
    Render(Render),
    /// Remove a placement whose policy is gone
    Forget {
        /// KIND/NAME, for instance deployment/frontend
        template: String,
    },
    /// Place templates without a hub, or say what a changed policy would move
    Plan(Plan),
    /// Move work away from a domain, in good order
    Drain(Domain),
    /// Give a domain no new work
    Cordon(Domain),
    /// Let a domain take work again; also ends its drain
    Uncordon(Domain),
    /// Break simulated members on purpose, and mend them
    #[command(subcommand)]
    Fault(Fault),
    /// Prove that the federation survives a loss
    #[command(subcommand)]
    Drill(Drill),
    /// Release or hold evacuations
    #[command(subcommand)]
    Failover(Failover),
    /// Look at topology files
    #[command(subcommand)]
    Topology(Topology),
    /// Print the completion script of a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Up {
    /// Folder of the state; else `hanse` in the user's data directory
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Fleet to simulate; else three regions of two clusters
    #[arg(long, value_name = "FILE")]
    pub(crate) topology: Option<PathBuf>,
    /// Forget the state of earlier runs first
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Address of the federation's API
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7443")]
    pub(crate) listen: SocketAddr,
    /// Address of metrics and health
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    pub(crate) admin: SocketAddr,
}

#[derive(Args, Debug)]
pub(crate) struct Hub {
    /// Address at which relays reach this hub
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:15010")]
    pub(crate) xds: SocketAddr,
    /// Address of metrics and health
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:15020")]
    pub(crate) admin: SocketAddr,
    /// Provider in which this hub runs: with a region it has a vote
    #[arg(long, requires = "region")]
    pub(crate) provider: Option<String>,
    /// Region in which this hub runs
    #[arg(long, requires = "provider")]
    pub(crate) region: Option<String>,
    /// Where others reach the address of --admin, for explain and plan --diff: IP:PORT, or
    /// services/NAMESPACE/NAME:PORT through the hub's API; else the address itself
    #[arg(long, value_name = "WHERE")]
    pub(crate) questions: Option<String>,
    /// Where gateway addresses are reached by the hub's own requests in drills
    #[arg(long, value_enum, default_value_t = Addresses::Identity)]
    pub(crate) address_map: Addresses,
}

/// Where addresses of the API are reached.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Addresses {
    /// As they are.
    #[default]
    Identity,
    /// 10.64.0.0/10 at the same place of 127.0.0.0/8: simulated pods.
    Loopback,
}

#[derive(Args, Debug)]
pub(crate) struct Agent {
    /// Name of the member
    #[arg(long)]
    pub(crate) member: String,
    /// Address of the hub's xDS
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) hub: SocketAddr,
    /// File with the token that `join` made
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: PathBuf,
    /// Address at which the gateway reaches this relay
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:15011")]
    pub(crate) listen: SocketAddr,
    /// Address of the member's gateway, without port
    #[arg(long, value_name = "IP")]
    pub(crate) gateway: std::net::IpAddr,
    /// Folder of the snapshot
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Address of metrics and health
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:15021")]
    pub(crate) admin: SocketAddr,
}

#[derive(Args, Debug)]
pub(crate) struct Gateway {
    /// Name of the member
    #[arg(long)]
    pub(crate) member: String,
    /// Address of the relay
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) relay: SocketAddr,
    /// File with the token that the relay accepts
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: PathBuf,
    /// Address to listen on, without port
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    pub(crate) bind: std::net::IpAddr,
    /// Folder of the snapshot
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Address of metrics and health
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:15022")]
    pub(crate) admin: SocketAddr,
    /// Where pod addresses are reached
    #[arg(long, value_enum, default_value_t = Addresses::Identity)]
    pub(crate) address_map: Addresses,
}

#[derive(Args, Debug)]
pub(crate) struct Join {
    /// Name of the member
    pub(crate) name: String,
    /// Kubeconfig of the cluster
    #[arg(long, value_name = "FILE")]
    pub(crate) member_kubeconfig: PathBuf,
    /// Context of that kubeconfig
    #[arg(long)]
    pub(crate) member_context: Option<String>,
    /// Its provider
    #[arg(long)]
    pub(crate) provider: String,
    /// Its region
    #[arg(long)]
    pub(crate) region: String,
    /// Its zone
    #[arg(long)]
    pub(crate) zone: Option<String>,
    /// Its network: members of one network reach each other's pods
    #[arg(long, default_value = "default")]
    pub(crate) network: String,
    /// Address of its gateway as others reach it; may be given more than once
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) gateway: Vec<SocketAddr>,
    /// Where to keep the token for its relay and gateway
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Plan {
    /// Manifests: templates and policies; `-` for standard input
    #[arg(short = 'f', long = "filename", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Fleet to place on, without any hub
    #[arg(long, value_name = "FILE", required_unless_present = "diff", conflicts_with = "diff")]
    pub(crate) topology: Option<PathBuf>,
    /// Ask the hub that runs what these policies would move; exits 0 when nothing would, 4 when
    /// something would
    #[arg(long)]
    pub(crate) diff: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Render {
    /// KIND/NAME, for instance deployment/frontend
    pub(crate) template: String,
    /// Name of the cluster
    #[arg(long)]
    pub(crate) cluster: String,
}

#[derive(Args, Debug)]
pub(crate) struct Domain {
    /// What is meant
    #[arg(value_enum)]
    pub(crate) kind: DomainKind,
    /// Its name
    pub(crate) name: String,
}

/// Kinds of failure domains.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum DomainKind {
    Cluster,
    Zone,
    Region,
    Provider,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Fault {
    /// Break a member, or its link to another
    Set {
        /// Name of the member
        cluster: String,
        /// What happens to it
        #[arg(value_enum)]
        fault: FaultType,
        /// Milliseconds for latency, percent of answers for errors, nodes for lose-nodes, the
        /// other member (or `hub`) for cut-link
        value: Option<String>,
    },
    /// Mend a member
    Clear {
        /// Name of the member
        cluster: String,
    },
}

/// What can happen to a simulated member.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum FaultType {
    Kill,
    Freeze,
    Blackhole,
    Latency,
    Errors,
    LoseNodes,
    CutLink,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Drill {
    /// Take a domain out, measure, put it back, say whether it passed
    Run(DrillRun),
    /// List drills
    List,
    /// Print the report of a drill
    Report {
        /// Name of the drill
        name: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct DrillRun {
    #[command(flatten)]
    pub(crate) target: DrillTarget,
    /// What to do to it
    #[arg(long, value_enum, default_value_t = DrillFault::Isolate)]
    pub(crate) fault: DrillFault,
    /// GlobalService to send traffic to; else every one
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub(crate) probe: Vec<String>,
    /// Requests a second
    #[arg(long, default_value_t = 100)]
    pub(crate) rate: u32,
    /// How long, for instance 30s or 2m
    #[arg(long, default_value = "30s", value_parser = crate::duration::parse)]
    pub(crate) duration: std::time::Duration,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct DrillTarget {
    /// A region
    #[arg(long)]
    pub(crate) region: Option<String>,
    /// A cluster
    #[arg(long)]
    pub(crate) cluster: Option<String>,
    /// A zone
    #[arg(long)]
    pub(crate) zone: Option<String>,
    /// A provider
    #[arg(long)]
    pub(crate) provider: Option<String>,
}

/// What a drill does.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(crate) enum DrillFault {
    /// Treat the target as lost without touching it
    Isolate,
    /// Drain it in good order
    Evacuate,
    /// Compute the plan, touch nothing
    Simulate,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Failover {
    /// Evacuate a lost domain that a brake holds
    Approve {
        /// Its name, as the Federation's condition BrakeReleased says it
        domain: String,
        /// How long the approval holds
        #[arg(long = "for", default_value = "1h", value_parser = crate::duration::parse)]
        lasting: std::time::Duration,
    },
    /// Evacuate nothing
    Hold,
    /// Evacuate losses again
    Release,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Topology {
    /// Draw a fleet
    Show {
        /// The file; else the default fleet
        file: Option<PathBuf>,
    },
    /// Check a file
    Check {
        /// The file
        file: PathBuf,
    },
}

#[cfg(test)]
mod tests;
