use super::*;
use crate::Quota;
use oblivia_base::Blame;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU64, Ordering};

const DAY: u64 = 20_000;

fn the_day() -> u64 {
    DAY
}

fn client(i: u8) -> Digest {
    Digest([i; 32])
}

fn quota(images: u64) -> Quota {
    Quota { images: Some(images), images_per_day: None }
}

fn each(images: u64) -> Budgets {
    Budgets { client: quota(images), ..Budgets::default() }
}

fn open(dir: &Path, budgets: Budgets) -> Result<Arc<Ledger>, Error> {
    Ledger::open(dir, budgets, ["a", "b"].into_iter(), the_day)
}

fn charge(ledger: &Arc<Ledger>, model: &str, who: u8, images: u64) -> Result<Charge, Shortfall> {
    ledger.charge(model, &client(who), images, images).map_err(|e| match e {
        SessionError::Budget(short) => short,
        e => panic!("{e}"),
    })
}

/// Charges if there is room, and says what is left.
fn spend(ledger: &Arc<Ledger>, model: &str, who: u8, images: u64) -> Result<u64, Shortfall> {
    charge(ledger, model, who, images)?;
    Ok(ledger.covers(model, &client(who), 0, 0).unwrap().unwrap().left)
}

fn used(short: Result<u64, Shortfall>) -> (Budget, u64) {
    let short = short.unwrap_err();
    (short.budget, short.used)
}

#[test]
fn every_client_has_its_budget_with_every_model_and_it_outlives_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), each(10)).unwrap();
    assert_eq!(spend(&ledger, "a", 1, 7), Ok(3));
    assert_eq!(spend(&ledger, "a", 2, 10), Ok(0));
    assert_eq!(spend(&ledger, "b", 1, 10), Ok(0));
    assert_eq!(used(spend(&ledger, "a", 1, 4)), (Budget::Client, 7));
    drop(ledger);
    let ledger = open(dir.path(), each(10)).unwrap();
    assert_eq!(used(spend(&ledger, "a", 1, 4)), (Budget::Client, 7));
    assert_eq!(spend(&ledger, "a", 1, 3), Ok(0));
    drop(ledger);
    // A budget that was made smaller leaves nothing, one that was made larger the difference.
    assert_eq!(used(spend(&open(dir.path(), each(5)).unwrap(), "a", 1, 1)), (Budget::Client, 10));
    assert_eq!(spend(&open(dir.path(), each(15)).unwrap(), "a", 1, 1), Ok(4));
}

#[test]
fn named_clients_have_their_own_and_all_together_the_models() {
    let dir = tempfile::tempdir().unwrap();
    let named = [(client(1), quota(2)), (client(2), Quota::default())].into();
    let budgets = Budgets { client: quota(5), named, model: quota(20) };
    let ledger = open(dir.path(), budgets.clone()).unwrap();
    assert_eq!(used(spend(&ledger, "a", 1, 3)), (Budget::Client, 0));
    assert_eq!(spend(&ledger, "a", 2, 12), Ok(8), "who has any number is held to the total");
    assert_eq!(spend(&ledger, "a", 3, 5), Ok(0));
    assert_eq!(used(spend(&ledger, "a", 4, 4)), (Budget::Model, 17));
    drop(ledger);
    let ledger = open(dir.path(), budgets).unwrap();
    assert_eq!(
        used(spend(&ledger, "a", 4, 4)),
        (Budget::Model, 17),
        "the total is what the clients' counts add up to"
    );
    assert_eq!(spend(&ledger, "a", 4, 3), Ok(0));
}

static CLOCK: AtomicU64 = AtomicU64::new(DAY);

#[test]
fn a_day_begins_anew_at_midnight_and_not_when_the_clock_is_set_back() {
    let dir = tempfile::tempdir().unwrap();
    let budgets = Budgets {
        client: Quota { images: Some(10), images_per_day: Some(4) },
        model: Quota { images: None, images_per_day: Some(6) },
        ..Budgets::default()
    };
    let open = || {
        Ledger::open(dir.path(), budgets.clone(), ["a"].into_iter(), || CLOCK.load(Ordering::SeqCst)).unwrap()
    };
    let ledger = open();
    assert_eq!(spend(&ledger, "a", 1, 4), Ok(0));
    assert_eq!(used(spend(&ledger, "a", 1, 1)), (Budget::ClientDay, 4));
    assert_eq!(used(spend(&ledger, "a", 2, 3)), (Budget::ModelDay, 4));
    CLOCK.store(DAY - 1, Ordering::SeqCst);
    assert_eq!(used(spend(&ledger, "a", 1, 1)), (Budget::ClientDay, 4));
    CLOCK.store(DAY + 1, Ordering::SeqCst);
    assert_eq!(spend(&ledger, "a", 1, 3), Ok(1));
    drop(ledger);
    let ledger = open();
    assert_eq!(used(spend(&ledger, "a", 1, 2)), (Budget::ClientDay, 3));
    assert_eq!(used(spend(&ledger, "a", 2, 4)), (Budget::ModelDay, 3));
    CLOCK.store(DAY + 2, Ordering::SeqCst);
    assert_eq!(used(spend(&ledger, "a", 1, 4)), (Budget::Client, 7));
}

#[test]
fn sessions_that_agree_at_once_never_exceed_a_budget_together_and_asking_holds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), each(10)).unwrap();
    let covers = |asked| ledger.covers("a", &client(1), asked, asked).map_err(|e| e.to_string());
    for _ in 0..3 {
        let left = Allowance { budget: Budget::Client, images: 10, left: 4 };
        assert_eq!(covers(6), Ok(Some(left)), "however often it is asked for");
    }
    assert_eq!(spend(&ledger, "a", 1, 6), Ok(4));
    assert!(covers(5).is_err() && covers(4).is_ok());
    assert_eq!(used(spend(&ledger, "a", 1, 5)), (Budget::Client, 6));
    assert!(ledger.covers("c", &client(1), 99, 99).unwrap().is_none(), "a model that is not served");
    let got: u64 = std::thread::scope(|scope| {
        let ask = || {
            (0..20).filter(|_| spend(&ledger, "a", 1, 1).is_ok() && spend(&ledger, "b", 1, 1).is_ok()).count()
                as u64
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(got, 4, "what was left");
    drop(ledger);
    let ledger = open(dir.path(), each(10)).unwrap();
    assert_eq!(used(spend(&ledger, "a", 1, 1)), (Budget::Client, 10));
}

#[test]
fn a_session_that_failed_before_its_first_image_gives_back_what_it_was_charged() {
    let dir = tempfile::tempdir().unwrap();
    let budgets = Budgets { client: Quota { images: Some(10), images_per_day: Some(10) }, ..each(0) };
    let ledger = open(dir.path(), budgets.clone()).unwrap();
    assert_eq!(spend(&ledger, "a", 1, 3), Ok(7));
    charge(&ledger, "a", 1, 7).ok().unwrap().give_back(false).unwrap();
    drop(ledger);
    assert_eq!(spend(&open(dir.path(), budgets).unwrap(), "a", 1, 7), Ok(0));
}

#[test]
fn who_used_nothing_in_the_end_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), each(10)).unwrap();
    let book = ledger.books().get("a").unwrap().dir.clone();
    let files = || fs::read_dir(&book).unwrap().count();
    let charged = |images| charge(&ledger, "a", 1, images).ok().unwrap();
    let failed = charged(7);
    assert_eq!(files(), 1);
    failed.give_back(false).unwrap();
    assert_eq!((files(), ledger.books().get("a").unwrap().clients.len()), (0, 0));
    let first = charged(3);
    charged(2);
    first.give_back(false).unwrap();
    assert_eq!(files(), 1, "another session used something");
    assert_eq!(used(spend(&ledger, "a", 1, 9)), (Budget::Client, 2));
}

#[test]
fn what_a_client_breaks_off_is_its_own_loss_and_not_the_models() {
    let dir = tempfile::tempdir().unwrap();
    let both = |images| Quota { images: Some(images), images_per_day: Some(images) };
    let budgets = Budgets { client: both(10), model: both(12), ..Budgets::default() };
    let ledger = open(dir.path(), budgets.clone()).unwrap();
    assert_eq!(spend(&ledger, "a", 1, 1), Ok(9));
    let gone = charge(&ledger, "a", 1, 8).ok().unwrap();
    assert_eq!(used(spend(&ledger, "a", 2, 5)), (Budget::Model, 9), "while the session is there");
    gone.give_back(true).unwrap();
    let check = |ledger: &Arc<Ledger>| {
        assert_eq!(used(spend(ledger, "a", 1, 2)), (Budget::Client, 9));
        assert!(ledger.covers("a", &client(2), 10, 10).is_ok(), "all but the one that was predicted");
    };
    check(&ledger);
    drop(ledger);
    let ledger = open(dir.path(), budgets).unwrap();
    check(&ledger);
    assert_eq!(spend(&ledger, "a", 2, 10), Ok(0));
    assert_eq!(used(spend(&ledger, "a", 3, 2)), (Budget::Model, 11));
}

#[test]
fn a_charge_is_on_disk_when_it_returns_and_a_charge_that_cannot_be_written_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), each(10)).unwrap();
    let book = ledger.books().get("a").unwrap().dir.clone();
    ledger.covers("a", &client(1), 3, 3).unwrap();
    assert_eq!(fs::read_dir(&book).unwrap().count(), 0, "asking counts nothing");
    spend(&ledger, "a", 1, 3).unwrap();
    let on_disk = decode(&fs::read(book.join(file_name(&client(1)))).unwrap(), "a", &client(1)).unwrap();
    assert_eq!((on_disk.used, on_disk.day, on_disk.used_on_day), (3, DAY, 3));
    fs::rename(&book, dir.path().join("away")).unwrap();
    let error = ledger.charge("a", &client(1), 3, 3).err().unwrap();
    assert_eq!(error.blame(), Blame::Io, "{error}");
    assert_eq!(used(spend(&ledger, "a", 1, 8)), (Budget::Client, 3), "what was not charged is not used");
}

#[test]
fn a_damaged_count_stops_the_server_from_starting_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), each(10)).unwrap();
    spend(&ledger, "a", 1, 3).unwrap();
    let book = ledger.books().get("a").unwrap().dir.clone();
    drop(ledger);
    let file = book.join(file_name(&client(1)));
    let good = fs::read(&file).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    let damages = [
        Vec::new(),
        good[..good.len() / 2].to_vec(),
        b"{}".to_vec(),
        text.replace("\"images\": 3", "\"images\": 0").into_bytes(),
        text.replace("\"images\": 3", "\"images\": -3").into_bytes(),
        text.replace(&client(1).hex(), &client(2).hex()).into_bytes(),
        vec![b' '; 5000],
    ];
    for damage in damages {
        assert_ne!(damage, good);
        fs::write(&file, &damage).unwrap();
        let error = open(dir.path(), each(10)).err().unwrap();
        let words = error.to_string();
        assert!(words.contains(file.to_str().unwrap()) && words.contains("delete it"), "{words}");
        assert_eq!(error.blame(), Blame::Io);
    }
    fs::write(&file, &good).unwrap();
    for name in ["notes.txt", &format!("{}.json", client(1).hex().to_uppercase().replace('0', "A"))] {
        fs::write(book.join(name), &good).unwrap();
        assert!(open(dir.path(), each(10)).is_err(), "{name}");
        fs::remove_file(book.join(name)).unwrap();
    }
    // What was not finished when the server stopped was never counted.
    fs::write(book.join(".1-0.tmp"), &good[..9]).unwrap();
    assert_eq!(spend(&open(dir.path(), each(10)).unwrap(), "a", 1, 7), Ok(0));
    assert!(!book.join(".1-0.tmp").exists());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn two_servers_do_not_count_in_one_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), each(10)).unwrap();
    let words = open(dir.path(), each(10)).err().unwrap().to_string();
    assert!(words.contains("another server") && words.contains("--state-dir"), "{words}");
    drop(first);
    open(dir.path(), each(10)).unwrap();
}

#[test]
fn whole_groups_are_counted_and_the_tightest_budget_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let budgets = Budgets { model: quota(5000), ..each(4096) };
    let ledger = open(dir.path(), budgets).unwrap();
    let left = ledger.covers("a", &client(1), 1, 4096).unwrap();
    assert_eq!(left, Some(Allowance { budget: Budget::Client, images: 4096, left: 0 }));
    ledger.charge("a", &client(1), 1, 4096).ok().unwrap();
    let Err(SessionError::Budget(short)) = ledger.charge("a", &client(2), 1, 4096) else {
        panic!("it does not fit")
    };
    assert_eq!(short, Shortfall { budget: Budget::Model, images: 5000, used: 4096, asked: 1, counted: 4096 });
}
