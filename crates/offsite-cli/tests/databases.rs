//! Databases backed up and restored, by the lines of docs/deploy.md.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::host::Host;
use support::{Run, Words, folder, run};
use tempfile::TempDir;

const PAGE: &str = include_str!("../../../docs/deploy.md");

/// The lines of the page below a heading that are marked as code and begin so.
fn lines(heading: &str, beginning: &str) -> Vec<&'static str> {
    let section = PAGE.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let code = section.split("\n```\n").skip(1).step_by(2).flat_map(str::lines);
    code.filter(|line| line.starts_with(beginning)).collect()
}

/// A server of its own, for connections by a socket in its folder alone; gone with this.
struct Postgres(TempDir);

impl Postgres {
    fn start() -> Self {
        let postgres = Self(folder());
        fs::set_permissions(postgres.0.path(), Permissions::from_mode(0o755)).unwrap();
        let user = run(Command::new("id").words("-u postgres")).ok();
        let user = String::from_utf8(user.stdout).unwrap().trim().parse().unwrap();
        chown(postgres.0.path(), Some(user), None).unwrap();
        postgres.control("initdb", &["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]).ok();
        let options = format!("-k {} -c listen_addresses= -c fsync=off", postgres.0.path().display());
        let log = postgres.0.path().join("log");
        postgres.control("pg_ctl", &["start", "--wait", "--log", log.to_str().unwrap(), "--options", &options]).ok();
        postgres
    }

    /// Runs one of the server's programs, as its user.
    fn control(&self, program: &str, arguments: &[&str]) -> Run {
        let mut command = self.of(Command::new("runuser"));
        command.words("-u postgres --").arg(programs().join(program)).args(arguments);
        run(command.arg("-D").arg(self.0.path().join("data")))
    }

    /// Lets a command reach this server as it would reach the machine's own.
    fn of(&self, mut command: Command) -> Command {
        command.env("PGHOST", self.0.path()).current_dir(self.0.path());
        command
    }

    fn sql(&self, statements: &str) -> String {
        let mut psql = self.of(Command::new("runuser"));
        let said = run(psql.words("-u postgres -- psql -AtX -v ON_ERROR_STOP=1 -d acme -c").arg(statements)).ok();
        String::from_utf8(said.stdout).unwrap()
    }

    fn dump(&self) -> String {
        let mut dump = self.of(Command::new("runuser"));
        let text = String::from_utf8(run(dump.words("-u postgres -- pg_dumpall")).ok().stdout).unwrap();
        // Newer ones have these lines, with a random word.
        text.lines().filter(|line| !line.starts_with("\\restrict ") && !line.starts_with("\\unrestrict ")).collect()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.control("pg_ctl", &["stop", "--mode=immediate"]);
    }
}

/// The folder of the newest server's programs.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is missing: run scripts/setup-peers");
    let newest = versions.map(|entry| entry.unwrap().path()).max_by_key(|path| version(path));
    newest.expect("PostgreSQL is missing: run scripts/setup-peers").join("bin")
}

/// As the name of the folder has it.
fn version(path: &Path) -> u32 {
    path.file_name().unwrap().to_str().unwrap().parse().unwrap_or(0)
}

/// A host with the key pair that the page names.
fn host_of_the_page() -> Host {
    let host = Host::new();
    fs::copy(host.path("cert.pem"), host.path("acme-cert.pem")).unwrap();
    fs::copy(host.path("key.pem"), host.path("acme-PRIVATE.pem")).unwrap();
    host
}

/// A line of the page, on this host.
fn command_of_the_page(host: &Host, line: &str) -> Command {
    // Where tests run there may be no lasting name.
    let line = line.replace("offsite backup", "\"$OFFSITE\" backup --host web-1");
    host.bash(&line.replace("offsite restore", "\"$OFFSITE\" restore").replace("/mnt/backups/offsite/store", "store"))
}

#[test]
fn postgresql_comes_back_by_the_lines_of_the_page() {
    let host = host_of_the_page();
    let by_the_page =
        |line: &str, postgres: &Postgres| run(command_of_the_page(&host, line).env("PGHOST", postgres.0.path()));
    let (backups, restores) = (lines("PostgreSQL", "offsite backup"), lines("PostgreSQL", "offsite restore"));
    assert_eq!((backups.len(), restores.len()), (2, 2));

    let one = Postgres::start();
    run(one.of(Command::new("runuser")).words("-u postgres -- createdb acme")).ok();
    one.sql("CREATE ROLE clerk LOGIN PASSWORD 'secret'; CREATE TABLE bills (number int PRIMARY KEY, text text);
        INSERT INTO bills SELECT n, md5(n::text) || ' ''\\ é' FROM generate_series(1, 50000) n; GRANT SELECT ON bills TO clerk");
    for line in &backups {
        by_the_page(line, &one).ok();
    }
    let another = Postgres::start();
    by_the_page(restores[0], &another).ok().says("role \"postgres\" already exists");
    let (before, after) = (one.dump(), another.dump());
    assert!(before.contains("CREATE TABLE public.bills") && before.contains("CREATE ROLE clerk"));
    assert!(before == after, "the dumps differ: {} and {} bytes", before.len(), after.len());

    run(one.of(Command::new("runuser")).words("-u postgres -- dropdb acme")).ok();
    by_the_page(restores[1], &one).ok();
    assert_eq!(one.sql("SELECT count(*), max(text) FROM bills"), another.sql("SELECT count(*), max(text) FROM bills"));

    let mut broken = host.backup("--set db --exec db.sql -- runuser -u postgres -- pg_dumpall");
    run(broken.env("PGHOST", "/nowhere")).fails(1).says("pg_dumpall: error").says("so there is no backup");
}

/// A server of its own, for connections by a socket in its folder alone; gone with this.
struct Mariadb {
    folder: TempDir,
    server: Child,
}

impl Mariadb {
    fn start() -> Self {
        let folder = folder();
        let data = format!("--datadir={}", folder.path().join("data").display());
        let mut install = Command::new("mariadb-install-db");
        install.words("--no-defaults --user=root --auth-root-authentication-method=normal --skip-test-db");
        run(install.arg(&data)).ok();
        let mut server = Command::new("mariadbd");
        server.words("--no-defaults --user=root --skip-networking").arg(&data);
        for (option, name) in [("socket", "socket"), ("pid-file", "pid"), ("log-error", "log")] {
            server.arg(format!("--{option}={}", folder.path().join(name).display()));
        }
        let server = server.stdin(Stdio::null()).spawn().expect("MariaDB is missing: run scripts/setup-peers");
        let mariadb = Self { folder, server };
        let socket = mariadb.folder.path().join("socket");
        fs::write(mariadb.folder.path().join("my.cnf"), format!("[client]\nsocket={}\n", socket.display())).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !run(mariadb.of(Command::new("mariadb")).words("-e exit")).succeeded() {
            let log = || fs::read_to_string(mariadb.folder.path().join("log"));
            assert!(Instant::now() < deadline, "MariaDB does not start: {:?}", log());
            thread::sleep(Duration::from_millis(100));
        }
        mariadb
    }

    /// Lets a command reach this server as it would reach the machine's own.
    fn of(&self, mut command: Command) -> Command {
        command.env("MYSQL_HOME", self.folder.path());
        command
    }

    fn sql(&self, user: &str, statements: &str) -> String {
        let mut client = self.of(Command::new("mariadb"));
        let said = run(client.words("--skip-column-names --user").args([user, "-e", statements])).ok();
        String::from_utf8(said.stdout).unwrap()
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn mariadb_comes_back_by_the_lines_of_the_page() {
    let host = host_of_the_page();
    let (backups, restores) = (lines("MariaDB", "offsite backup"), lines("MariaDB", "offsite restore"));
    assert_eq!((backups.len(), restores.len()), (1, 1));

    let one = Mariadb::start();
    let statements = "CREATE DATABASE acme; USE acme; CREATE USER clerk; GRANT SELECT, EXECUTE ON acme.* TO clerk;
        CREATE TABLE bills (number int PRIMARY KEY, text text) ENGINE=InnoDB;
        INSERT INTO bills SELECT seq, concat(md5(seq), ' \\'\\\\ é') FROM seq_1_to_50000;
        CREATE FUNCTION doubled(number int) RETURNS int DETERMINISTIC RETURN 2 * number;
        CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM bills WHERE number < 0;";
    one.sql("root", statements);
    run(&mut one.of(command_of_the_page(&host, backups[0]))).ok();
    let another = Mariadb::start();
    run(&mut another.of(command_of_the_page(&host, restores[0]))).ok();
    // As the one who may do so: the grants have come with the rest.
    let questions = "CHECKSUM TABLE acme.bills; SELECT count(*), max(text), acme.doubled(21) FROM acme.bills";
    assert_eq!(another.sql("clerk", questions), one.sql("clerk", questions));
    let events = "SELECT event_name FROM information_schema.events";
    assert_eq!(another.sql("root", events), "nightly\n");

    let mut broken = host.backup("--set db --exec db.sql -- mariadb-dump --socket=/nowhere --all-databases");
    run(&mut broken).fails(1).says("mariadb-dump: Got error").says("so there is no backup");
}
