//! A real S3 server, SeaweedFS, and what others than `offsite` do to its buckets, with boto3.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::ports::Ports;
use super::{Run, Words, needed, peers, run, tls};

/// The host that [`Identity::Host`] is.
pub(crate) const HOST: &str = "here";
/// A prefix in each bucket below which a host's objects may lie as well.
pub(crate) const PREFIX: &str = "backups/of all";
/// How many buckets a server may have: the host's policy names each.
const MOST_BUCKETS: usize = 100;

/// What the server listens on: each service, and beside it its gRPC.
const SERVICES: [&str; 5] = ["s3", "master", "volume", "filer", "admin"];

/// What has to answer, in the time of a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// May do anything: an administrator, or whoever stole their key.
    Admin,
    /// May put objects of [`HOST`] and nothing else.
    Host,
    /// May list and get, older versions as well, and nothing else.
    Reader,
}

impl Identity {
    const ALL: [Self; 3] = [Self::Admin, Self::Host, Self::Reader];

    fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Host => "host",
            Self::Reader => "reader",
        }
    }

    fn secret(self) -> String {
        format!("{}-secret-key", self.name())
    }

    fn credentials(self) -> Value {
        json!([{ "accessKey": self.name(), "secretKey": self.secret() }])
    }

    /// The statement of this identity's policy; an administrator needs none.
    fn statement(self) -> Option<Value> {
        let (actions, resources): (&[&str], _) = match self {
            Self::Admin => return None,
            Self::Host => (&["s3:PutObject"], (0..MOST_BUCKETS).flat_map(host_folders).collect()),
            Self::Reader => (
                &["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketVersions"],
                vec!["arn:aws:s3:::*".to_owned()],
            ),
        };
        Some(json!({ "Effect": "Allow", "Action": actions, "Resource": resources }))
    }

    /// Gives a command this identity's keys, and nothing else of the tester's own about S3.
    pub(crate) fn at(self, command: &mut Command) -> &mut Command {
        for variable in ["AWS_PROFILE", "AWS_SESSION_TOKEN", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(variable);
        }
        command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_ACCESS_KEY_ID", self.name()).env("AWS_SECRET_ACCESS_KEY", self.secret())
    }
}

fn bucket_name(number: usize) -> String {
    format!("offsite-{number:02}")
}

/// Where in a bucket the host's objects lie.
fn host_folders(bucket: usize) -> [String; 4] {
    let bucket = bucket_name(bucket);
    let below = format!("{bucket}/{PREFIX}");
    [(&bucket, "data"), (&bucket, "receipts"), (&below, "data"), (&below, "receipts")]
        .map(|(parent, folder)| format!("arn:aws:s3:::{parent}/{folder}/{HOST}/*"))
}

/// The server's file of identities and their policies.
fn configuration() -> Value {
    let mut identities = Vec::new();
    let mut policies = Vec::new();
    for identity in Identity::ALL {
        let name = identity.name();
        let mut entry = json!({ "name": name });
        if let Some(statement) = identity.statement() {
            let content = json!({ "Version": "2012-10-17", "Statement": [statement] });
            policies.push(json!({ "name": name, "content": content.to_string() }));
            entry["policyNames"] = json!([name]);
        } else {
            entry["actions"] = json!(["Admin", "Read", "Write", "List"]);
        }
        identities.push(entry);
    }
    json!({ "identities": identities, "policies": policies })
}

/// A server with data of its own, which ends with this or with the test program.
pub(crate) struct S3Server {
    ports: Ports,
    folder: TempDir,
    running: Mutex<Option<Running>>,
    buckets: AtomicUsize,
    /// URLs to try whether it works, known once it has worked.
    probe: OnceLock<Value>,
}

impl S3Server {
    /// A server of one's own, to stop and start.
    #[track_caller]
    pub(crate) fn start() -> Arc<Self> {
        Self::start_with(configuration())
    }

    /// A server with these identities, which are [`Identity::ALL`] and get their keys, and policies.
    #[track_caller]
    pub(crate) fn start_with(mut configuration: Value) -> Arc<Self> {
        for (number, identity) in Identity::ALL.into_iter().enumerate() {
            configuration["identities"][number]["credentials"] = identity.credentials();
        }
        let server = Self {
            ports: Ports::claim(),
            folder: super::folder(),
            running: Mutex::default(),
            buckets: AtomicUsize::new(0),
            probe: OnceLock::new(),
        };
        fs::create_dir(server.folder.path().join("data")).expect("a folder is made");
        fs::write(server.folder.path().join("s3.json"), configuration.to_string()).expect("a file is written");
        tls::certificate(server.folder.path(), "tls", tls::GOOD);
        server.start_again();
        let server = Arc::new(server);
        let bucket = Bucket { server: Arc::clone(&server), name: "probe".to_owned() };
        server.probe.set(bucket.ask("probe", &[])).expect("nobody else has set it");
        server
    }

    /// The server that the tests of this program share, each with buckets of its own. It runs for as
    /// long as any of them uses it.
    #[track_caller]
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<S3Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Self::start();
            *shared = Arc::downgrade(&server);
            server
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port("s3")
    }

    /// Where it speaks S3 by TLS.
    pub(crate) fn tls_address(&self) -> SocketAddr {
        self.ports.address(u16::try_from(2 * SERVICES.len()).expect("there are five"))
    }

    /// The certificate that it shows there.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("tls.pem")
    }

    /// Kills the server: what it answered for is in its files.
    pub(crate) fn stop(&self) {
        self.running().take();
    }

    /// Starts the server after it was stopped, on the same ports and data.
    #[track_caller]
    pub(crate) fn start_again(&self) {
        let mut running = self.running();
        assert!(running.is_none(), "the server runs already");
        let log = self.folder.path().join("log");
        let weed = running.insert(Running::start(&mut self.command(&log)));
        let start = Instant::now();
        while !self.works() {
            let ended = weed.server.try_wait().expect("it was not waited for");
            if ended.is_some() || start.elapsed() > PATIENCE {
                panic!("the S3 server does not work: {}", String::from_utf8_lossy(&super::read(&log)));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether the server does what it should: it answers before it has found its data.
    fn works(&self) -> bool {
        let Some(probe) = self.probe.get() else { return status(self.address(), "GET", "/").is_some() };
        let base = format!("http://{}", self.address());
        [("PUT", "put_object"), ("GET", "get_object")].iter().all(|(method, action)| {
            let target = probe[action].as_str().and_then(|url| url.strip_prefix(&base)).expect("a URL of the server");
            status(self.address(), method, target) == Some(200)
        })
    }

    /// A new bucket.
    #[track_caller]
    pub(crate) fn bucket(self: &Arc<Self>, kind: Kind) -> Bucket {
        let number = self.buckets.fetch_add(1, Ordering::Relaxed);
        assert!(number < MOST_BUCKETS, "the host's policy knows fewer buckets");
        let bucket = Bucket { server: Arc::clone(self), name: bucket_name(number) };
        let options: &[&str] = match kind {
            Kind::Plain => &[],
            Kind::Versions => &["--versions"],
            Kind::Lock(mode) => &["--lock", mode],
        };
        bucket.ask("create", options);
        bucket
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        // A test that failed leaves nothing half done here.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn port(&self, service: &str) -> SocketAddr {
        let number = SERVICES.iter().position(|known| *known == service).expect("one of the services");
        self.ports.address(u16::try_from(number).expect("there are five"))
    }

    fn grpc_port(&self, service: &str) -> u16 {
        self.port(service).port() + u16::try_from(SERVICES.len()).expect("there are five")
    }

    fn command(&self, log: &Path) -> Command {
        let mut command = Command::new(needed(peers().join("python/bin/weed")));
        command.words("mini -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.telemetry=false");
        command.words("-admin.ui=false -webdav=false -s3.port.iceberg=0 -s3.port.lance=0");
        // Each bucket has files of its own, most of them small here.
        command.words("-master.volumeSizeLimitMB=64 -volume.max=1000");
        for service in SERVICES {
            command.arg(format!("-{service}.port={}", self.port(service).port()));
            command.arg(format!("-{service}.port.grpc={}", self.grpc_port(service)));
        }
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        command.arg(format!("-s3.port.https={}", self.tls_address().port()));
        command.arg(format!("-s3.cert.file={}", path("tls.pem"))).arg(format!("-s3.key.file={}", path("tls-key.pem")));
        command.arg(format!("-dir={}", path("data"))).arg(format!("-s3.config={}", path("s3.json")));
        command.arg(format!("-s3.localSocket={}", path("s3"))).arg(format!("-filer.localSocket={}", path("filer")));
        let log = File::create(log).expect("a file is made");
        command.current_dir(self.folder.path()).env("HOME", self.folder.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file has a second handle")).stderr(log);
        command
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.stop();
        // It makes these where it likes, and was not asked to end.
        for service in SERVICES {
            let _ = fs::remove_file(format!("/tmp/seaweedfs-{service}-grpc-{}.sock", self.grpc_port(service)));
        }
    }
}

/// The status with which an HTTP server answers a request that has no body; None if nobody answers.
fn status(address: SocketAddr, method: &str, target: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request =
        format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).ok()?;
    std::str::from_utf8(answer.strip_prefix(b"HTTP/1.1 ")?).ok()?.parse().ok()
}

/// A server's process, and a keeper who kills its group when this is dropped or the test program
/// ends, however that happens.
struct Running {
    server: Child,
    keeper: Child,
}

impl Running {
    #[track_caller]
    fn start(command: &mut Command) -> Self {
        let server = command.process_group(0).spawn().expect("the server starts");
        let mut keeper = Command::new("bash");
        keeper.args(["-c", "read -r _; kill -KILL -- \"-$1\"", "keeper"]).arg(server.id().to_string());
        let keeper = keeper.process_group(0).stdin(Stdio::piped()).spawn().expect("bash starts");
        Self { server, keeper }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
        // Not before the keeper has ended: until it is waited for, the number is the server's.
        let _ = self.server.wait();
    }
}

/// What a bucket does for its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Versions,
    /// Versions, and each is locked for a day: `GOVERNANCE` or `COMPLIANCE`.
    Lock(&'static str),
}

/// A refusal by the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The HTTP status.
    pub(crate) status: u64,
    /// What S3 calls it, such as `AccessDenied`.
    pub(crate) code: String,
}

/// A version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) latest: bool,
    /// Whether it says that the object is deleted.
    pub(crate) marker: bool,
    pub(crate) size: u64,
}

/// A bucket, and what an administrator does to it, or an attacker who has their key.
#[derive(Clone)]
pub(crate) struct Bucket {
    server: Arc<S3Server>,
    name: String,
}

impl Bucket {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The whole bucket, as `--to` and `--from` take it.
    pub(crate) fn location(&self) -> String {
        self.location_by("", self.server.address())
    }

    /// What lies below a prefix of the bucket, by way of a proxy.
    pub(crate) fn location_by(&self, prefix: &str, address: SocketAddr) -> String {
        let mut location = format!("s3://{}", self.name);
        if !prefix.is_empty() {
            write!(location, "/{}", prefix.replace(' ', "%20")).expect("a string takes all");
        }
        location + &format!("?endpoint=http://{address}&region=us-east-1")
    }

    #[track_caller]
    pub(crate) fn keys(&self) -> Vec<String> {
        texts(&self.ask("keys", &[]))
    }

    /// Every version of every object, by key, the newest first.
    #[track_caller]
    pub(crate) fn versions(&self) -> Vec<Version> {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let version = |value: &Value| Version {
            key: text(&value["key"]),
            id: text(&value["version"]),
            latest: value["latest"] == true,
            marker: value["marker"] == true,
            size: value["size"].as_u64().expect("a size"),
        };
        self.ask("versions", &[]).as_array().expect("a list").iter().map(version).collect()
    }

    #[track_caller]
    pub(crate) fn get(&self, key: &str) -> Vec<u8> {
        self.get_with(key, &[])
    }

    #[track_caller]
    pub(crate) fn get_version(&self, key: &str, id: &str) -> Vec<u8> {
        self.get_with(key, &["--version", id])
    }

    #[track_caller]
    fn get_with(&self, key: &str, options: &[&str]) -> Vec<u8> {
        let folder = super::folder();
        let path = folder.path().join("object");
        let path_text = path.to_str().expect("a temporary folder's name is text");
        self.ask("get", &[&[key, path_text], options].concat());
        super::read(&path)
    }

    /// Puts an object, over any that there is.
    #[track_caller]
    pub(crate) fn put(&self, key: &str, bytes: &[u8]) {
        self.put_by(Identity::Admin, self.server.address(), key, bytes, false).expect("an administrator may");
    }

    /// Puts an object as anybody, by way of a proxy; if `new`, only where there is none.
    #[track_caller]
    pub(crate) fn put_by(
        &self,
        who: Identity,
        address: SocketAddr,
        key: &str,
        bytes: &[u8],
        new: bool,
    ) -> Result<(), Refused> {
        let folder = super::folder();
        let path = super::file(&folder, "object", bytes);
        let mut arguments = vec![key, path.to_str().expect("a temporary folder's name is text")];
        arguments.extend(new.then_some("--new"));
        self.ask_by(who, address, "put", &arguments).map(drop)
    }

    /// Deletes an object; where there are versions, they stay.
    #[track_caller]
    pub(crate) fn delete(&self, key: &str) {
        self.ask("delete", &[key]);
    }

    /// Deletes one version for good, if the bucket lets this happen.
    #[track_caller]
    pub(crate) fn delete_version(&self, key: &str, id: &str) -> Result<(), Refused> {
        self.ask_by(Identity::Admin, self.server.address(), "delete", &[key, "--version", id]).map(drop)
    }

    /// Deletes every object; where there are versions, they stay. Tells which these were.
    #[track_caller]
    pub(crate) fn hide(&self) -> Vec<String> {
        texts(&self.ask("hide", &[]))
    }

    /// A URL for `action`, such as `put_object`, that needs no keys, by way of a proxy.
    #[track_caller]
    pub(crate) fn url(&self, address: SocketAddr, action: &str, key: &str) -> String {
        let url = self.ask_by(Identity::Admin, address, "url", &[key, action]).expect("nobody is asked");
        url.as_str().expect("a text").to_owned()
    }

    /// One of `bucket.py`'s commands, which must succeed.
    #[track_caller]
    pub(crate) fn ask(&self, command: &str, arguments: &[&str]) -> Value {
        let answer = self.ask_by(Identity::Admin, self.server.address(), command, arguments);
        answer.unwrap_or_else(|refused| panic!("{command} {arguments:?}: {refused:?}"))
    }

    /// One of `bucket.py`'s commands, as anybody, by way of a proxy.
    #[track_caller]
    pub(crate) fn ask_by(
        &self,
        who: Identity,
        address: SocketAddr,
        command: &str,
        arguments: &[&str],
    ) -> Result<Value, Refused> {
        let run = run(self.python(who, address).arg(command).arg(&self.name).args(arguments));
        let answer = super::host::json(&run);
        if run.succeeded() {
            return Ok(answer);
        }
        refusal(run, &answer)
    }

    fn python(&self, who: Identity, address: SocketAddr) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/bucket.py");
        let mut command = Command::new("python3");
        command.arg(script).env("PYTHONPATH", needed(peers().join("python/boto3")).parent().expect("it has a parent"));
        command.env("AWS_ENDPOINT_URL", format!("http://{address}"));
        who.at(&mut command);
        command
    }
}

#[track_caller]
fn refusal(run: Run, answer: &Value) -> Result<Value, Refused> {
    run.fails(3);
    let code = answer["error"].as_str().expect("a code").to_owned();
    Err(Refused { status: answer["status"].as_u64().expect("a status"), code })
}

fn texts(list: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    list.as_array().expect("a list").iter().map(text).collect()
}
