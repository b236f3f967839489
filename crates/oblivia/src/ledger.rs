//! What clients have used of their budgets, on disk before it is used.
//!
//! | path below `--state-dir` | contents |
//! |---|---|
//! | `budgets/lock` | held by the one server that counts here |
//! | `budgets/MODEL/CLIENT.json` | one client's count of one model; MODEL is a digest of the model's name, CLIENT the client's fingerprint |
//!
//! A count is replaced whole and synced, directory included, before the session it is of goes on. What a session may still
//! charge is set aside in memory while it agrees, so that sessions of one client together never exceed a budget. What cannot be
//! read is an error at the start, never a count of zero; a file that was deleted is a client that begins anew.
//!
//! A session that fails before its first image gives its images back to the model's budgets. It gives them back to the client's too,
//! unless the client broke it off after it agreed: images of a total are not to be had for nothing. What is set aside before then is
//! free again when the session ends.
#![deny(clippy::indexing_slicing)]

use crate::{Budgets, Error};
use oblivia_base::{Digest, Transcript};
use oblivia_net::private;
use oblivia_protocol::{Allowance, Budget, Error as SessionError, Shortfall};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The largest file read, in bytes: many times what a count takes.
const MAX_FILE_BYTES: u64 = 4096;
/// The most clients counted per model. Further ones are turned away: who forgot some would forget what they used.
const MAX_CLIENTS: usize = 1 << 18;

/// Days since 1970-01-01 UTC.
pub(crate) fn today() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400)
}

/// What one client, or all together, used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Account {
    used: u64,
    /// The last day something was used on.
    day: u64,
    used_on_day: u64,
    /// Of what a client used, in all and on that day: in sessions that it broke off before their first image. The model's budgets
    /// have that back; 0 in the account of all together.
    broken_off: u64,
    broken_off_on_day: u64,
    /// Set aside for sessions that have not charged it yet; in memory only.
    pending: u64,
}

impl Account {
    /// Used or set aside, in all and today. A clock that was set back stays on the later day.
    fn taken(&self, today: u64) -> [u64; 2] {
        let on_day = if self.day >= today { self.used_on_day } else { 0 };
        [self.used, on_day].map(|n| n.saturating_add(self.pending))
    }

    fn charge(&mut self, images: u64, today: u64) {
        if self.day < today {
            (self.day, self.used_on_day, self.broken_off_on_day) = (today, 0, 0);
        }
        self.used = self.used.saturating_add(images);
        self.used_on_day = self.used_on_day.saturating_add(images);
    }

    fn give_back(&mut self, images: u64, charged_on: u64) {
        self.used = self.used.saturating_sub(images);
        if self.day == charged_on {
            self.used_on_day = self.used_on_day.saturating_sub(images);
        }
    }

    fn break_off(&mut self, images: u64, charged_on: u64) {
        self.broken_off = self.broken_off.saturating_add(images);
        if self.day == charged_on {
            self.broken_off_on_day = self.broken_off_on_day.saturating_add(images);
        }
    }

    /// Of the model's budgets, in all and on the last day.
    fn of_all(&self) -> [u64; 2] {
        [self.used.saturating_sub(self.broken_off), self.used_on_day.saturating_sub(self.broken_off_on_day)]
    }

    fn is_empty(&self) -> bool {
        self.used == 0 && self.pending == 0
    }
}

/// One model's counts.
struct Book {
    dir: PathBuf,
    clients: BTreeMap<Digest, Account>,
    all: Account,
}

/// The counts of all models of a server.
pub(crate) struct Ledger {
    budgets: Budgets,
    books: Mutex<BTreeMap<String, Book>>,
    today: fn() -> u64,
    _lock: File,
}

impl Ledger {
    /// Reads the counts of `models`, and keeps every other server from counting in `state_dir`.
    pub(crate) fn open<'a>(
        state_dir: &Path,
        budgets: Budgets,
        models: impl Iterator<Item = &'a str>,
        today: fn() -> u64,
    ) -> Result<Arc<Self>, Error> {
        let root = state_dir.join("budgets");
        private::make_dir(&root)?;
        let path = root.join("lock");
        let io = |path: &Path| {
            let path = path.to_owned();
            move |e: std::io::Error| Error::Budget { path, why: e.to_string() }
        };
        let lock = File::options().create(true).append(true).open(&path).map_err(io(&path))?;
        lock.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => {
                let why = "another server counts budgets in this state directory; stop it, or choose another one with \
                           --state-dir"
                    .into();
                Error::Budget { path, why }
            }
            TryLockError::Error(e) => io(&path)(e),
        })?;
        let mut books = BTreeMap::new();
        for model in models {
            let dir = root.join(Digest::of("budget of a model v1", model.as_bytes()).hex());
            private::make_dir(&dir)?;
            books.insert(model.to_owned(), Book::read(dir, model)?);
        }
        for dir in [&root, state_dir] {
            sync(dir).map_err(io(dir))?;
        }
        Ok(Arc::new(Self { budgets, books: Mutex::new(books), today, _lock: lock }))
    }

    fn books(&self) -> MutexGuard<'_, BTreeMap<String, Book>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The four budgets of a client, and what is taken of them.
    fn limits(&self, book: &Book, client: &Digest) -> Vec<(Budget, u64, u64)> {
        let today = (self.today)();
        let account = book.clients.get(client).copied().unwrap_or_default();
        let (own, all) = (self.budgets.of(client), self.budgets.model);
        let ([used, on_day], [all_used, all_on_day]) = (account.taken(today), book.all.taken(today));
        let limits = [
            (Budget::Client, own.images, used),
            (Budget::ClientDay, own.images_per_day, on_day),
            (Budget::Model, all.images, all_used),
            (Budget::ModelDay, all.images_per_day, all_on_day),
        ];
        limits.into_iter().filter_map(|(budget, images, used)| Some((budget, images?, used))).collect()
    }

    /// The budget that does not cover `counted` images, the tightest of them if there are several.
    fn shortfall(limits: &[(Budget, u64, u64)], asked: u64, counted: u64) -> Option<Shortfall> {
        let short =
            limits.iter().map(|&(budget, images, used)| Shortfall { budget, images, used, asked, counted });
        short.filter(|s| counted > s.left()).min_by_key(Shortfall::left)
    }

    /// Refuses what the budgets do not cover now. For a model that is not served there is nothing to say.
    pub(crate) fn covers(&self, model: &str, client: &Digest, images: u64) -> Result<(), SessionError> {
        let books = self.books();
        let Some(book) = books.get(model) else { return Ok(()) };
        Self::shortfall(&self.limits(book, client), images, images)
            .map_or(Ok(()), |s| Err(SessionError::Budget(s)))
    }

    /// Sets `counted` images aside for a session that asked for `asked`.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        model: &str,
        client: &Digest,
        asked: u64,
        counted: u64,
    ) -> Result<Reservation, SessionError> {
        let mut books = self.books();
        let book = books.get_mut(model).ok_or_else(|| not_counted(model))?;
        let limits = self.limits(book, client);
        if let Some(short) = Self::shortfall(&limits, asked, counted) {
            return Err(SessionError::Budget(short));
        }
        if !book.clients.contains_key(client) && book.clients.len() >= MAX_CLIENTS {
            return Err(SessionError::Resource {
                what: "room for budgets",
                why: format!(
                    "{MAX_CLIENTS} clients of `{model}` are counted; admit named clients alone (--policy), or delete \
                     counts in {} while the server is stopped",
                    book.dir.display()
                ),
            });
        }
        book.clients.entry(*client).or_default().pending += counted;
        book.all.pending += counted;
        let left = limits.into_iter().map(|(budget, images, used)| {
            let left = images.saturating_sub(used).saturating_sub(counted);
            Allowance { budget, images, left }
        });
        let allowance = left.min_by_key(|a| a.left);
        let (model, client) = (model.to_owned(), *client);
        Ok(Reservation { ledger: self.clone(), model, client, images: counted, allowance, charged_on: None })
    }
}

/// Images set aside for a session, or charged to it. What was not charged is free again when this is dropped.
pub(crate) struct Reservation {
    ledger: Arc<Ledger>,
    model: String,
    client: Digest,
    images: u64,
    allowance: Option<Allowance>,
    charged_on: Option<u64>,
}

impl Reservation {
    /// What is left once this is counted.
    pub(crate) fn allowance(&self) -> Option<Allowance> {
        self.allowance
    }

    /// Images it counts.
    pub(crate) fn images(&self) -> u64 {
        self.images
    }

    /// Counts the images as used, on disk before this returns.
    pub(crate) fn charge(&mut self) -> Result<(), SessionError> {
        if self.charged_on.is_some() {
            return Err(SessionError::Misuse("a session was charged twice".into()));
        }
        let today = (self.ledger.today)();
        let charge = |account: &mut Account, images| {
            account.pending = account.pending.saturating_sub(images);
            account.charge(images, today);
        };
        self.change(charge, charge)?;
        self.charged_on = Some(today);
        Ok(())
    }

    /// Gives back what was charged, for a session that failed before its first image: to the model's budgets alone if the client
    /// broke it off.
    pub(crate) fn give_back(&mut self, broken_off: bool) -> Result<(), SessionError> {
        if let Some(day) = self.charged_on {
            let give_back = |account: &mut Account, images| account.give_back(images, day);
            match broken_off {
                true => self.change(|account, images| account.break_off(images, day), give_back)?,
                false => self.change(give_back, give_back)?,
            }
            // Nothing is set aside any more.
            self.images = 0;
        }
        Ok(())
    }

    /// Changes both accounts, the client's on disk first.
    fn change(
        &self,
        own: impl Fn(&mut Account, u64),
        of_all: impl Fn(&mut Account, u64),
    ) -> Result<(), SessionError> {
        let mut books = self.ledger.books();
        let book = books.get_mut(&self.model).ok_or_else(|| not_counted(&self.model))?;
        let mut account = book.clients.get(&self.client).copied().unwrap_or_default();
        own(&mut account, self.images);
        let name = file_name(&self.client);
        let written = match account.is_empty() {
            // Who used nothing takes no room.
            true => fs::remove_file(book.dir.join(&name)).map_err(|e| e.to_string()),
            false => {
                let bytes = encode(&self.model, &self.client, &account);
                private::replace(&book.dir, &name, &bytes).map_err(|e| e.to_string())
            }
        };
        written
            .and_then(|()| sync(&book.dir).map_err(|e| e.to_string()))
            .map_err(|why| SessionError::Io(format!("a budget could not be counted: {why}")))?;
        match account.is_empty() {
            true => book.clients.remove(&self.client),
            false => book.clients.insert(self.client, account),
        };
        of_all(&mut book.all, self.images);
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.charged_on.is_some() {
            return;
        }
        let mut books = self.ledger.books();
        let Some(book) = books.get_mut(&self.model) else { return };
        book.all.pending = book.all.pending.saturating_sub(self.images);
        if let Some(account) = book.clients.get_mut(&self.client) {
            account.pending = account.pending.saturating_sub(self.images);
            if account.is_empty() {
                book.clients.remove(&self.client);
            }
        }
    }
}

impl Book {
    fn read(dir: PathBuf, model: &str) -> Result<Self, Error> {
        let (mut clients, mut all) = (BTreeMap::new(), Account::default());
        let io = |path: &Path, e: std::io::Error| Error::Budget { path: path.to_owned(), why: e.to_string() };
        for entry in fs::read_dir(&dir).map_err(|e| io(&dir, e))? {
            let path = entry.map_err(|e| io(&dir, e))?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if name.starts_with('.') && name.ends_with(".tmp") {
                // Was never counted: the server stopped while it wrote this.
                fs::remove_file(&path).map_err(|e| io(&path, e))?;
                continue;
            }
            let bad = |why: &str| Error::Budget {
                path: path.clone(),
                why: format!("{why}; restore it, or delete it to let that client begin anew"),
            };
            let client = name.strip_suffix(".json").and_then(Digest::from_hex);
            let client = client.filter(|c| name == file_name(c)).ok_or_else(|| bad("is no count"))?;
            let size = fs::metadata(&path).map_err(|e| io(&path, e))?.len();
            if size > MAX_FILE_BYTES {
                return Err(bad("is too large for a count"));
            }
            let text = fs::read(&path).map_err(|e| io(&path, e))?;
            let account = decode(&text, model, &client).ok_or_else(|| bad("is damaged"))?;
            let [used, on_day] = account.of_all();
            all.used = all.used.saturating_add(used);
            if account.day > all.day {
                (all.day, all.used_on_day) = (account.day, 0);
            }
            if account.day == all.day {
                all.used_on_day = all.used_on_day.saturating_add(on_day);
            }
            clients.insert(client, account);
        }
        Ok(Self { dir, clients, all })
    }
}

fn file_name(client: &Digest) -> String {
    format!("{}.json", client.hex())
}

fn sync(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

fn not_counted(model: &str) -> SessionError {
    SessionError::Misuse(format!("the budgets of `{model}` are not counted"))
}

/// Tells damage from what was written; no protection against who may write here.
fn check(model: &str, client: &Digest, a: &Account) -> String {
    let mut t = Transcript::new("budget v1");
    t.absorb("model", model.as_bytes());
    t.absorb("client", &client.0);
    for (what, n) in [("images", a.used), ("day", a.day), ("images on day", a.used_on_day)] {
        t.absorb(what, &n.to_le_bytes());
    }
    for (what, n) in [("broken off", a.broken_off), ("broken off on day", a.broken_off_on_day)] {
        // A count without any is as it was before these were told apart.
        if n > 0 {
            t.absorb(what, &n.to_le_bytes());
        }
    }
    t.digest().hex()
}

fn encode(model: &str, client: &Digest, a: &Account) -> Vec<u8> {
    let fields = json!({
        "schema": 1,
        "model": model,
        "client": client.hex(),
        "images": a.used,
        "day": a.day,
        "images_on_day": a.used_on_day,
        "broken_off": a.broken_off,
        "broken_off_on_day": a.broken_off_on_day,
        "check": check(model, client, a),
    });
    format!("{fields:#}\n").into_bytes()
}

fn decode(text: &[u8], model: &str, client: &Digest) -> Option<Account> {
    let fields: Value = serde_json::from_slice(text).ok()?;
    let number = |name: &str| fields.get(name)?.as_u64();
    let a = Account {
        used: number("images")?,
        day: number("day")?,
        used_on_day: number("images_on_day")?,
        broken_off: number("broken_off").unwrap_or(0),
        broken_off_on_day: number("broken_off_on_day").unwrap_or(0),
        pending: 0,
    };
    let same = number("schema")? == 1
        && fields.get("model")? == model
        && fields.get("client")?.as_str()? == client.hex()
        && fields.get("check")?.as_str()? == check(model, client, &a);
    same.then_some(a)
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test that is wrong may panic")]
mod tests;
