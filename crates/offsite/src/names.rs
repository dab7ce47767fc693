//! What hosts, sets, backups and objects are called. A name is checked once, where it is parsed;
//! from there on its type says that it is safe in a path, a URL and a line of text, and that it
//! leads nowhere but below the store.

use std::fmt;
use std::str::FromStr;

use time::{Date, Month, OffsetDateTime, Time};

/// A text that is no such name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no {what}: {rule}")]
pub struct NameError {
    /// What it should be the name of.
    pub what: &'static str,
    /// The text.
    pub name: String,
    /// What such a name is.
    pub rule: &'static str,
}

/// Longest host or set, in bytes.
const LABEL: usize = 64;
/// Longest component of an object's name, in bytes: a file name on Linux.
const COMPONENT: usize = 255;
/// Longest name of an object, in bytes: S3 takes 1,024 together with the prefix.
const OBJECT: usize = 512;
/// Most components of an object's name. Ours have up to five.
const COMPONENTS: usize = 8;

/// Whether `text` is `[A-Za-z0-9_-][A-Za-z0-9._-]*` of at most so many bytes: no `.` or `..`, and
/// nothing hidden, so that a store can keep files of its own under names with a leading dot.
fn is_plain(text: &str, most: usize) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && text.len() <= most && !text.starts_with('.') && text.bytes().all(plain)
}

/// Whether `name` may be one component of an object's name.
pub(crate) fn is_component(name: &str) -> bool {
    is_plain(name, COMPONENT)
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $is:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let is: fn(&str) -> bool = $is;
                let error = || NameError { what: $what, name: text.to_owned(), rule: $rule };
                is(text).then(|| Self(text.to_owned())).ok_or_else(error)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_name!(
    /// A host: `[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}`.
    HostName,
    "name of a host",
    "it takes 1 to 64 of A-Z a-z 0-9 . _ -, the first not a dot",
    |text| is_plain(text, LABEL)
);

text_name!(
    /// A set, a named series of backups of one host: `[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}`.
    SetName,
    "name of a set",
    "it takes 1 to 64 of A-Z a-z 0-9 . _ -, the first not a dot",
    |text| is_plain(text, LABEL)
);

text_name!(
    /// An object in a store: 2 to 8 components joined by `/`, each of 1 to 255 of `A-Z a-z 0-9 . _ -`,
    /// the first not a dot; at most 512 bytes in all. What lies in the topmost folder is the store's own.
    ObjectName,
    "name of an object",
    "it takes 2 to 8 parts between slashes, each of A-Z a-z 0-9 . _ -, the first not a dot",
    |text| text.len() <= OBJECT
        && (2..=COMPONENTS).contains(&text.split('/').count())
        && text.split('/').all(is_component)
);

text_name!(
    /// A folder of objects, without a slash at its end; the empty text is the topmost one.
    Folder,
    "name of a folder",
    "it takes up to 7 parts between slashes, each of A-Z a-z 0-9 . _ -, the first not a dot",
    |text| text.is_empty()
        || text.len() <= OBJECT && text.split('/').count() < COMPONENTS && text.split('/').all(is_component)
);

impl ObjectName {
    /// `receipts/<host>/<set>/<backup>.p7s`
    #[must_use]
    pub fn receipt(host: &HostName, set: &SetName, backup: BackupId) -> Self {
        Self(format!("receipts/{host}/{set}/{backup}.p7s"))
    }

    /// `data/<host>/<set>/<backup>/<file>`
    ///
    /// # Errors
    ///
    /// Where `file` is not a single component.
    pub fn data(host: &HostName, set: &SetName, backup: BackupId, file: &str) -> Result<Self, NameError> {
        let rule = "it takes A-Z a-z 0-9 . _ -, the first not a dot";
        let error = || NameError { what: "name of a backup's object", name: file.to_owned(), rule };
        is_component(file).then(|| Self(format!("data/{host}/{set}/{backup}/{file}"))).ok_or_else(error)
    }

    /// `data/<host>/<set>/<backup>/<file>`, for what lies there beside slices.
    #[must_use]
    pub fn file(host: &HostName, set: &SetName, backup: BackupId, file: BackupFile) -> Self {
        Self(format!("data/{host}/{set}/{backup}/{file}"))
    }

    /// `data/<host>/<set>/<backup>/slice-<number>.p7m`
    #[must_use]
    pub fn slice(host: &HostName, set: &SetName, backup: BackupId, number: u32) -> Self {
        Self(format!("data/{host}/{set}/{backup}/slice-{number:08}.p7m"))
    }

    /// The folder, and the name in it.
    pub(crate) fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('/').expect("an object's name has two components")
    }
}

/// A backup: when it started, to the second, and four random bytes, as in
/// `20261123T074500Z-7f3a9c01`. The order of ids is that of their texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId {
    start: OffsetDateTime,
    random: [u8; 4],
}

impl BackupId {
    /// Names a backup that starts now. A clock outside the years 1970 to 9999 counts as the
    /// nearest time within: the text has four digits.
    #[must_use]
    pub fn new(now: OffsetDateTime, random: [u8; 4]) -> Self {
        const END_OF_9999: i64 = 253_402_300_799;
        let seconds = now.unix_timestamp().clamp(0, END_OF_9999);
        let start = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Self { start, random }
    }

    /// The same, unless one that came before has the same second and no lower an id: then one above
    /// it, as random as there is room. Ids of a set grow, as long as the clock does not go back.
    #[must_use]
    pub fn after(self, previous: Self) -> Self {
        if self.start != previous.start || self > previous {
            return self;
        }
        let previous = u32::from_be_bytes(previous.random);
        match u32::from_be_bytes(self.random).checked_rem(u32::MAX - previous) {
            Some(random) => Self { random: (previous + 1 + random).to_be_bytes(), ..self },
            None => Self::new(self.start + time::Duration::SECOND, self.random),
        }
    }

    /// When the backup started, in UTC.
    #[must_use]
    pub fn start(self) -> OffsetDateTime {
        self.start
    }

    /// Twelve bytes whose order is that of ids.
    pub(crate) fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        // No id starts before 1970, so that the sign does not stand in the way of the order.
        bytes[..8].copy_from_slice(&self.start.unix_timestamp().to_be_bytes());
        bytes[8..].copy_from_slice(&self.random);
        bytes
    }

    /// The id of [`to_bytes`](Self::to_bytes).
    pub(crate) fn from_bytes(bytes: [u8; 12]) -> Self {
        let [seconds @ .., a, b, c, d] = bytes;
        let start = OffsetDateTime::from_unix_timestamp(i64::from_be_bytes(seconds));
        Self::new(start.unwrap_or(OffsetDateTime::UNIX_EPOCH), [a, b, c, d])
    }

    fn parse(text: &str) -> Option<Self> {
        let number = |from: usize| text.get(from..from + 2)?.parse::<u8>().ok();
        let year = text.get(..4)?.parse().ok()?;
        let date = Date::from_calendar_date(year, Month::try_from(number(4)?).ok()?, number(6)?).ok()?;
        let time = Time::from_hms(number(9)?, number(11)?, number(13)?).ok()?;
        let random = u32::from_str_radix(text.get(17..)?, 16).ok()?;
        let id = Self::new(OffsetDateTime::new_utc(date, time), random.to_be_bytes());
        // One id has one text: what lies between the numbers, signs and upper case are settled here.
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.start.to_calendar_date();
        let (hour, minute, second) = self.start.to_hms();
        let random = u32::from_be_bytes(self.random);
        write!(f, "{year:04}{:02}{day:02}T{hour:02}{minute:02}{second:02}Z-{random:08x}", u8::from(month))
    }
}

impl FromStr for BackupId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let rule = "it is a time and eight hexadecimal digits, as in 20261123T074500Z-7f3a9c01";
        Self::parse(text).ok_or_else(|| NameError { what: "id of a backup", name: text.to_owned(), rule })
    }
}

/// A backup among those of all hosts and sets. Its text, `host/set/backup`, is also the context that
/// its messages are bound to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupName {
    /// The host.
    pub host: HostName,
    /// The set.
    pub set: SetName,
    /// The backup.
    pub backup: BackupId,
}

impl BackupName {
    /// The backup whose receipt has this name, if any has.
    #[must_use]
    pub fn of_receipt(object: &ObjectName) -> Option<Self> {
        let mut parts = object.as_str().strip_prefix("receipts/")?.strip_suffix(".p7s")?.split('/');
        let host = parts.next()?.parse().ok()?;
        let set = parts.next()?.parse().ok()?;
        let backup = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self { host, set, backup })
    }

    /// The host and the set.
    #[must_use]
    pub fn of(&self) -> (&HostName, &SetName) {
        (&self.host, &self.set)
    }

    /// The same set's backup of another id.
    #[must_use]
    pub fn sibling(&self, backup: BackupId) -> Self {
        Self { backup, ..self.clone() }
    }

    /// The receipt.
    #[must_use]
    pub fn receipt(&self) -> ObjectName {
        ObjectName::receipt(&self.host, &self.set, self.backup)
    }

    /// What lies in the backup's folder beside slices.
    #[must_use]
    pub fn file(&self, file: BackupFile) -> ObjectName {
        ObjectName::file(&self.host, &self.set, self.backup, file)
    }

    /// The slice of this number that the backup put.
    #[must_use]
    pub fn slice(&self, number: u32) -> ObjectName {
        ObjectName(format!("data/{self}/slice-{number:08}.p7m"))
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, set, backup } = self;
        write!(f, "{host}/{set}/{backup}")
    }
}

/// What lies in a backup's folder beside slices. The order is that of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BackupFile {
    /// `slices.sha256`: size and hash of each slice.
    Checksums,
    /// The index's slice of this number: `index.p7m`, `index-00000001.p7m` and so on.
    Index(u32),
    /// The plan's slice of this number: `plan.p7m`, `plan-00000001.p7m` and so on.
    Plan(u32),
    /// `recipients.pem`: the recipients' certificates.
    Recipients,
    /// `RECOVER.txt`: what this is.
    Recover,
}

impl BackupFile {
    fn parse(text: &str) -> Option<Self> {
        let file = match text {
            "slices.sha256" => Self::Checksums,
            "index.p7m" => Self::Index(0),
            "plan.p7m" => Self::Plan(0),
            "recipients.pem" => Self::Recipients,
            "RECOVER.txt" => Self::Recover,
            _ => match text.strip_suffix(".p7m")?.split_once('-')? {
                ("index", number) => Self::Index(number.parse().ok()?),
                ("plan", number) => Self::Plan(number.parse().ok()?),
                _ => return None,
            },
        };
        // One file has one name: signs, missing zeros and number 0 are settled here.
        (file.to_string() == text).then_some(file)
    }
}

impl fmt::Display for BackupFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checksums => f.write_str("slices.sha256"),
            Self::Index(0) => f.write_str("index.p7m"),
            Self::Index(number) => write!(f, "index-{number:08}.p7m"),
            Self::Plan(0) => f.write_str("plan.p7m"),
            Self::Plan(number) => write!(f, "plan-{number:08}.p7m"),
            Self::Recipients => f.write_str("recipients.pem"),
            Self::Recover => f.write_str("RECOVER.txt"),
        }
    }
}

impl FromStr for BackupFile {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let rule = "it is slices.sha256, index.p7m, plan.p7m, recipients.pem or RECOVER.txt";
        Self::parse(text).ok_or_else(|| NameError { what: "name of a backup's file", name: text.to_owned(), rule })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        let longest = "x".repeat(64);
        for good in ["a", "-", "_", "db.example-1_b", "A..b", &longest] {
            assert!(good.parse::<HostName>().is_ok() && good.parse::<SetName>().is_ok(), "{good} is refused");
        }
        let too_long = "x".repeat(65);
        for bad in ["", ".", "..", ".a", "a/b", "a b", "a\n", "a\0", "ä", "a:b", "a\\b", "%41", &too_long] {
            assert!(bad.parse::<HostName>().is_err() && bad.parse::<SetName>().is_err(), "{bad:?} is accepted");
        }
    }

    #[test]
    fn objects_lie_below_the_store() {
        for good in ["receipts/a/b/c.p7s", "data/h/s/b/slice-00000000.p7m", "a/b", "1/2/3/4/5/6/7/8"] {
            assert!(good.parse::<ObjectName>().is_ok(), "{good} is refused");
        }
        let too_long = format!("a/{}", "x".repeat(256));
        let much_too_long = ["x".repeat(200), "x".repeat(200), "x".repeat(200)].join("/");
        for bad in ["", "/", "STORE", "/a/b", "a/b/", "a//b", "a/./b", "a/../b", "../a", "a/.b", "a/b\n", "a/b c"]
            .into_iter()
            .chain(["1/2/3/4/5/6/7/8/9", &too_long, &much_too_long])
        {
            assert!(bad.parse::<ObjectName>().is_err(), "{bad:?} is accepted");
        }
        for good in ["", "data", "data/a", "1/2/3/4/5/6/7"] {
            assert!(good.parse::<Folder>().is_ok(), "{good} is refused");
        }
        for bad in ["/", "data/", "/data", "..", "a/../b", "1/2/3/4/5/6/7/8"] {
            assert!(bad.parse::<Folder>().is_err(), "{bad:?} is accepted");
        }
    }

    #[test]
    fn names_are_built_of_names() {
        let (host, set) = ("web-1".parse().unwrap(), "default".parse().unwrap());
        let id = "20261123T074500Z-7f3a9c01".parse().unwrap();
        let receipt = ObjectName::receipt(&host, &set, id);
        assert_eq!(receipt.as_str(), "receipts/web-1/default/20261123T074500Z-7f3a9c01.p7s");
        let slice = ObjectName::data(&host, &set, id, "slice-00000000.p7m").unwrap();
        assert_eq!(slice.as_str(), "data/web-1/default/20261123T074500Z-7f3a9c01/slice-00000000.p7m");
        let plan = ObjectName::file(&host, &set, id, BackupFile::Plan(1));
        assert_eq!(plan.as_str(), "data/web-1/default/20261123T074500Z-7f3a9c01/plan-00000001.p7m");
        for name in [receipt, slice, plan] {
            assert_eq!(name.as_str().parse(), Ok(name));
        }
        assert!(ObjectName::data(&host, &set, id, "../index.p7m").is_err());
    }

    #[test]
    fn a_receipt_tells_its_backup() {
        let of = |name: &str| BackupName::of_receipt(&name.parse().unwrap());
        let name = of("receipts/web-1/default/20261123T074500Z-7f3a9c01.p7s").unwrap();
        assert_eq!(name.to_string(), "web-1/default/20261123T074500Z-7f3a9c01");
        assert_eq!(name.receipt().as_str(), "receipts/web-1/default/20261123T074500Z-7f3a9c01.p7s");
        for other in [
            "receipts/web-1/default/20261123T074500Z-7f3a9c01",
            "receipts/web-1/20261123T074500Z-7f3a9c01.p7s",
            "receipts/web-1/default/more/20261123T074500Z-7f3a9c01.p7s",
            "receipts/web-1/default/20261123T074500Z-7f3a9c01.p7s/20261123T074500Z-7f3a9c01.p7s",
            "receipts/web-1/default/latest.p7s",
            "data/web-1/default/20261123T074500Z-7f3a9c01.p7s",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn a_backups_file_has_one_name() {
        let names = ["slices.sha256", "index.p7m", "index-00000001.p7m", "index-4294967295.p7m", "plan.p7m"];
        let files = names.into_iter().chain(["plan-00000001.p7m", "recipients.pem", "RECOVER.txt"]);
        let files: Vec<BackupFile> = files
            .map(|name| {
                let file: BackupFile = name.parse().unwrap();
                assert_eq!(file.to_string(), name);
                file
            })
            .collect();
        assert!(files.is_sorted());
        for bad in ["", "slices", "slice-00000000.p7m", "index-00000000.p7m", "index-1.p7m", "index-000000001.p7m"]
            .into_iter()
            .chain(["index-+0000001.p7m", "plan-4294967296.p7m", "plan-.p7m", "../plan.p7m", "recover.txt"])
        {
            assert!(bad.parse::<BackupFile>().is_err(), "{bad:?} is accepted");
        }
    }

    #[test]
    fn a_backup_id_has_one_text() {
        let now = OffsetDateTime::from_unix_timestamp(1_795_419_900).unwrap() + time::Duration::milliseconds(999);
        let elsewhere = now.to_offset(time::UtcOffset::from_hms(-9, -30, 0).unwrap());
        let id = BackupId::new(elsewhere, [0x7f, 0x3a, 0x9c, 0x01]);
        assert_eq!(id.to_string(), "20261123T074500Z-7f3a9c01");
        assert_eq!("20261123T074500Z-7f3a9c01".parse(), Ok(id));
        assert_eq!(id.start().unix_timestamp_nanos(), 1_795_419_900_000_000_000);
        let later = BackupId::new(now + time::Duration::seconds(1), [0; 4]);
        assert!(id < later && id.to_string() < later.to_string());
        assert!(id.to_bytes() < later.to_bytes());
        assert_eq!((later.after(id), id.after(later)), (later, id));
        let of = |random: u32| BackupId { random: random.to_be_bytes(), ..id };
        for (random, before, after) in
            [(9, 8, 9), (0, 8, 9), (8, 8, 17), (0, u32::MAX - 1, u32::MAX), (7, u32::MAX - 1, u32::MAX)]
        {
            assert_eq!(of(random).after(of(before)), of(after), "{random} after {before}");
        }
        assert_eq!(of(0).after(of(u32::MAX)), later);
        for id in [id, later, BackupId::new(OffsetDateTime::UNIX_EPOCH, [0xff; 4])] {
            assert_eq!(BackupId::from_bytes(id.to_bytes()), id);
        }
        for bad in [
            "",
            "20261123T074500Z",
            "20261123T074500Z-7F3A9C01",
            "20261123T074500Z-7f3a9c1",
            "20261123T074500Z-7f3a9c011",
            "20261123T074500Z-+f3a9c01",
            "20261123T074500+-7f3a9c01",
            "20261123 074500Z-7f3a9c01",
            "20261123T074500Z_7f3a9c01",
            "20261131T074500Z-7f3a9c01",
            "20261323T074500Z-7f3a9c01",
            "20261123T074560Z-7f3a9c01",
            "19691123T074500Z-7f3a9c01",
            "+2026123T074500Z-7f3a9c01",
            "2026112äT74500Z-7f3a9c01",
        ] {
            assert!(bad.parse::<BackupId>().is_err(), "{bad} is accepted");
        }
    }
}
