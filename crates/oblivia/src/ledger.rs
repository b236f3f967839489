//! What clients have used of their budgets, on disk before it is used.
//!
//! | path below `--state-dir` | contents |
//! |---|---|
//! | `budgets/lock` | held by the one server that counts here |
//! | `budgets/MODEL/CLIENT.json` | one client's count of one model; MODEL is a digest of the model's name, CLIENT the client's fingerprint |
//!
//! A session is charged when its plan is agreed, if the budgets cover it then: sessions together never exceed one, and who has not
//! agreed holds nothing. A count is replaced whole and synced, directory included, before the session it is of goes on. What cannot
//! be read is an error at the start, never a count of zero; a file that was deleted is a client that begins anew.
//!
//! A session that fails before its first image gives its images back to the model's budgets. It gives them back to the client's too,
//! unless the client broke it off: images of a total are not to be had for nothing.
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
}

impl Account {
    /// Used in all and today. A clock that was set back stays on the later day.
    fn used(&self, today: u64) -> [u64; 2] {
        [self.used, if self.day >= today { self.used_on_day } else { 0 }]
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
}

/// One model's counts.
struct Book {
    model: String,
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

    /// The four budgets of a client, and what is used of them.
    fn limits(&self, book: &Book, client: &Digest) -> impl Iterator<Item = (Budget, u64, u64)> {
        let today = (self.today)();
        let (own, all) = (self.budgets.of(client), self.budgets.model);
        let ([used, on_day], [all_used, all_on_day]) =
            (book.account(client).used(today), book.all.used(today));
        let limits = [
            (Budget::Client, own.images, used),
            (Budget::ClientDay, own.images_per_day, on_day),
            (Budget::Model, all.images, all_used),
            (Budget::ModelDay, all.images_per_day, all_on_day),
        ];
        limits.into_iter().filter_map(|(budget, images, used)| Some((budget, images?, used)))
    }

    /// Refuses what the tightest budget does not cover, and a client too many.
    fn allows(&self, book: &Book, client: &Digest, asked: u64, counted: u64) -> Result<(), SessionError> {
        let of = |(budget, images, used)| Shortfall { budget, images, used, asked, counted };
        let short = self.limits(book, client).map(of).filter(|s| counted > s.left());
        if let Some(short) = short.min_by_key(Shortfall::left) {
            return Err(SessionError::Budget(short));
        }
        if !book.clients.contains_key(client) && book.clients.len() >= MAX_CLIENTS {
            return Err(SessionError::Resource {
                what: "room for budgets",
                why: format!(
                    "{MAX_CLIENTS} clients of `{}` are counted; admit named clients alone (--policy), or delete counts \
                     in {} while the server is stopped",
                    book.model,
                    book.dir.display()
                ),
            });
        }
        Ok(())
    }

    /// What would be left if a session that asks for `asked` images were charged `counted` now; refuses it if the budgets do not
    /// cover it. For a model that is not served there is nothing to say.
    pub(crate) fn covers(
        &self,
        model: &str,
        client: &Digest,
        asked: u64,
        counted: u64,
    ) -> Result<Option<Allowance>, SessionError> {
        let books = self.books();
        let Some(book) = books.get(model) else { return Ok(None) };
        self.allows(book, client, asked, counted)?;
        let left = self.limits(book, client).map(|(budget, images, used)| {
            let left = images.saturating_sub(used).saturating_sub(counted);
            Allowance { budget, images, left }
        });
        Ok(left.min_by_key(|a| a.left))
    }

    /// Counts `counted` images as used by a session that asked for `asked`, on disk before this returns, or refuses it if the
    /// budgets do not cover it.
    pub(crate) fn charge(
        self: &Arc<Self>,
        model: &str,
        client: &Digest,
        asked: u64,
        counted: u64,
    ) -> Result<Charge, SessionError> {
        let mut books = self.books();
        let book = books.get_mut(model).ok_or_else(|| not_counted(model))?;
        self.allows(book, client, asked, counted)?;
        let (mut account, day) = (book.account(client), (self.today)());
        account.charge(counted, day);
        book.put(client, account)?;
        book.all.charge(counted, day);
        Ok(Charge { ledger: self.clone(), model: model.to_owned(), client: *client, images: counted, day })
    }
}

/// Images that a session was charged.
pub(crate) struct Charge {
    ledger: Arc<Ledger>,
    model: String,
    client: Digest,
    images: u64,
    day: u64,
}

impl Charge {
    /// How many.
    pub(crate) fn images(&self) -> u64 {
        self.images
    }

    /// Gives them back, for a session that failed before its first image: to the model's budgets alone if the client broke it off.
    pub(crate) fn give_back(self, broken_off: bool) -> Result<(), SessionError> {
        let Self { ledger, model, client, images, day } = self;
        let mut books = ledger.books();
        let book = books.get_mut(&model).ok_or_else(|| not_counted(&model))?;
        let mut account = book.account(&client);
        match broken_off {
            true => account.break_off(images, day),
            false => account.give_back(images, day),
        }
        book.put(&client, account)?;
        book.all.give_back(images, day);
        Ok(())
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
        Ok(Self { model: model.to_owned(), dir, clients, all })
    }

    fn account(&self, client: &Digest) -> Account {
        self.clients.get(client).copied().unwrap_or_default()
    }

    /// Replaces a client's account, on disk first.
    fn put(&mut self, client: &Digest, account: Account) -> Result<(), SessionError> {
        let name = file_name(client);
        let written = match account.used {
            // Who used nothing takes no room.
            0 => fs::remove_file(self.dir.join(&name)).map_err(|e| e.to_string()),
            _ => {
                let bytes = encode(&self.model, client, &account);
                private::replace(&self.dir, &name, &bytes).map_err(|e| e.to_string())
            }
        };
        written
            .and_then(|()| sync(&self.dir).map_err(|e| e.to_string()))
            .map_err(|why| SessionError::Io(format!("a budget could not be counted: {why}")))?;
        match account.used {
            0 => self.clients.remove(client),
            _ => self.clients.insert(*client, account),
        };
        Ok(())
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
