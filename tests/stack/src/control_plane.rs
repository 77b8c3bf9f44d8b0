//! etcd and kube-apiserver: their arguments, and what makes the API server ready.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use ureq::Agent;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::certs::Authority;
use crate::error::{Error, create_dir, write};
use crate::options::Options;
use crate::process::Plan;
use crate::tools::Tools;

/// Where the parts of a control plane listen, and its files.
pub(crate) struct ControlPlane {
    pub(crate) authority: Authority,
    pub(crate) server: String,
    pub(crate) etcd: String,
    pub(crate) audit_log: PathBuf,
    pub(crate) admin: PathBuf,
    /// The private key that signs service account tokens.
    pub(crate) token_key: PathBuf,
    token_public_key: PathBuf,
    folder: PathBuf,
    etcd_peer: String,
    port: u16,
}

impl ControlPlane {
    /// Chooses ports and makes certificates below `folder`.
    pub(crate) fn new(folder: &Path) -> Result<Self, Error> {
        let [port, etcd_port, peer_port] = free_ports()?;
        let keys = folder.join("keys");
        create_dir(&keys)?;
        let authority = Authority::new(&keys)?;
        let server = format!("https://127.0.0.1:{port}");
        let admin = authority.kubeconfig(&server, "admin", &["system:masters"])?;
        let (token_key, token_public_key) = authority.token_keys()?;
        Ok(Self {
            authority,
            server,
            etcd: format!("http://127.0.0.1:{etcd_port}"),
            audit_log: folder.join("audit.log"),
            admin,
            token_key,
            token_public_key,
            folder: folder.to_owned(),
            etcd_peer: format!("http://127.0.0.1:{peer_port}"),
            port,
        })
    }

    /// How etcd is started. Nothing in it outlives the stack, so it need not wait for the disk.
    pub(crate) fn etcd_plan(&self, tools: &Tools) -> Result<Plan, Error> {
        Ok(Plan::new("etcd", tools.path("etcd")?)
            .flag("name", "stack")
            .path("data-dir", &self.folder.join("etcd"))
            .flag("listen-client-urls", &self.etcd)
            .flag("advertise-client-urls", &self.etcd)
            .flag("listen-peer-urls", &self.etcd_peer)
            .flag("initial-advertise-peer-urls", &self.etcd_peer)
            .flag("initial-cluster", format!("stack={}", self.etcd_peer))
            .flag("quota-backend-bytes", 8_u64 << 30)
            .flag("log-level", "warn")
            .arg("--unsafe-no-fsync"))
    }

    /// How kube-apiserver is started.
    pub(crate) fn apiserver_plan(&self, tools: &Tools, options: &Options) -> Result<Plan, Error> {
        let server = self.authority.server("kube-apiserver", &["localhost", "kubernetes.default.svc"])?;
        let policy = self.folder.join("audit-policy.json");
        let rules = json!({
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [{"level": options.audit.name()}],
        });
        write(&policy, rules.to_string())?;
        let mut plan = Plan::new("kube-apiserver", tools.path("kube-apiserver")?)
            .flag("etcd-servers", &self.etcd)
            .flag("bind-address", "127.0.0.1")
            .flag("advertise-address", "127.0.0.1")
            .flag("secure-port", self.port)
            .path("tls-cert-file", &server.certificate)
            .path("tls-private-key-file", &server.key)
            .path("client-ca-file", &self.authority.certificate())
            .flag("anonymous-auth", false)
            .flag("authorization-mode", "RBAC")
            .flag("service-account-issuer", "https://kubernetes.default.svc")
            .path("service-account-key-file", &self.token_public_key)
            .path("service-account-signing-key-file", &self.token_key)
            .flag("service-cluster-ip-range", "10.0.0.0/24")
            .flag("allow-privileged", true)
            .flag("endpoint-reconciler-type", "none")
            .flag("profiling", false)
            .path("audit-policy-file", &policy)
            .path("audit-log-path", &self.audit_log);
        plan = if options.nodes.is_empty() {
            // Without kube-controller-manager no namespace has the service account that it would ask for.
            plan.flag("disable-admission-plugins", "ServiceAccount")
        } else {
            self.reach_kubelets(plan)?
        };
        if !options.streaming_lists {
            plan = plan.flag("feature-gates", "WatchList=false");
        }
        if let Some(limit) = &options.apiserver_memory {
            plan.environment.insert("GOMEMLIMIT".to_owned(), limit.clone());
        }
        Ok(plan.args(options.apiserver_args.iter().cloned()))
    }

    /// How kube-apiserver shows itself to kubelets, for logs, and knows them.
    fn reach_kubelets(&self, plan: Plan) -> Result<Plan, Error> {
        let client = self.authority.user("kube-apiserver-kubelet-client", &["system:masters"])?;
        Ok(plan
            .path("kubelet-client-certificate", &client.certificate)
            .path("kubelet-client-key", &client.key)
            .path("kubelet-certificate-authority", &self.authority.certificate())
            .flag("kubelet-preferred-address-types", "InternalIP"))
    }
}

impl ControlPlane {
    /// An HTTP client for somebody who may do everything, with a certificate of their own.
    pub(crate) fn agent(&self, user: &str) -> Result<Agent, Error> {
        let read = |path: &Path| std::fs::read(path).map_err(Error::io(format!("cannot read {}", path.display())));
        let wrong = |error: ureq::Error| Error::other(format!("{user}'s certificate cannot be used: {error}"));
        let pair = self.authority.user(user, &["system:masters"])?;
        let certificate = Certificate::from_pem(&read(&pair.certificate)?).map_err(wrong)?;
        let key = PrivateKey::from_pem(&read(&pair.key)?).map_err(wrong)?;
        let authority = Certificate::from_pem(&read(&self.authority.certificate())?).map_err(wrong)?;
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&[authority]))
            .client_cert(Some(ClientCert::new_with_certs(&[certificate], key)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        Ok(Agent::config_builder().tls_config(tls).http_status_as_error(false).build().new_agent())
    }
}

/// Ports that nobody listens on; all of them held at once, so that they differ.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N], Error> {
    let failed = || Error::io("cannot find a free port on 127.0.0.1");
    let mut listeners = Vec::with_capacity(N);
    for _ in 0..N {
        listeners.push(TcpListener::bind("127.0.0.1:0").map_err(failed())?);
    }
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr().map_err(failed())?.port();
    }
    Ok(ports)
}
