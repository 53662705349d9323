use super::*;

fn from_toml(text: &str) -> Result<Config, String> {
    let mut config = Config::default();
    config.apply_toml(Path::new("ringside.toml"), text).map_err(|error| error.to_string())?;
    config.check().map_err(|error| error.to_string())?;
    Ok(config)
}

#[test]
fn every_key_is_taken_from_a_file() {
    let config = from_toml(
        "state = \"/var/lib/ringside\"\nlisten = \"0.0.0.0:9000\"\nadvertise = \"192.0.2.7\"\nadmin = \"[::1]:9100\"\n\
         resolve = \"192.0.2.7:443\"\n\
         workers = 3\nstore = \"/srv/store\"\nseat_window_s = 5\nrecord = true\nrebalance = false\nsessions = 10\ncertificate_days = 2\n\
         log = \"warn\"\n",
    )
    .unwrap();
    assert_eq!(config.workers, 3);
    assert_eq!(config.advertised("0.0.0.0:9001".parse().unwrap()), "192.0.2.7:9001".parse().unwrap());
    assert_eq!(config.store(), Location::Directory("/srv/store".into()));
    let different = [
        config.state != Config::default().state,
        config.seat_window == Duration::from_secs(5),
        config.record,
        !config.rebalance,
        config.sessions == 10,
        config.certificate_days == 2,
        config.log == "warn",
        config.resolve == "192.0.2.7:443".parse().ok(),
        config.admin == "[::1]:9100".parse().unwrap(),
    ];
    assert!(different.iter().all(|set| *set), "{different:?}");
}

#[test]
fn errors_name_place_value_and_what_is_allowed() {
    let table = [
        ("workers = 0", "ringside.toml, line 1: `workers` is 0: expected a number from 1 to 64"),
        ("\n\nworkers = \"two\"", "ringside.toml, line 3: `workers` is \"two\": expected a number from 1 to 64"),
        ("workers = -1", "line 1: `workers` is -1: expected a number from 1 to 64"),
        ("workers = 0x10", "line 1: `workers` is 0x10: expected"),
        ("workers = 99999999999999999999999", "line 1: `workers` is 99999999999999999999999: expected"),
        ("worker = 1", "line 1: there is no key `worker`; did you mean `workers`?"),
        ("colour = 1", "line 1: there is no key `colour`; keys are state, listen"),
        ("[limits]\nsessions = 1", "line 1: there is no key `limits`; keys are"),
        ("listen = 7400", "line 1: `listen` is 7400: expected an address and a port such as"),
        ("listen = \"localhost\"", "`listen` is localhost: expected an address and a port"),
        ("listen = \"0.0.0.0:7400\"", "`listen` is 0.0.0.0:7400, which players cannot connect to: set `advertise`"),
        ("resolve = \"0.0.0.0:443\"", "`resolve` is 0.0.0.0:443, which players cannot connect to: set `advertise`"),
        ("resolve = \"443\"", "`resolve` is 443: expected an address and a port"),
        ("listen = \"127.0.0.1:65530\"\nworkers = 9", "ports end at 65535"),
        ("listen = \"127.0.0.1:0\"\npeers = \"127.0.0.1:65530\"\nworkers = 9", "`peers` has port 65530"),
        ("peers = \"0.0.0.0:7392\"", "`peers` is 0.0.0.0:7392, which other nodes cannot connect to: set `advertise`"),
        ("peers = 7392", "`peers` is 7392: expected an address and a port such as"),
        ("advertise = \"0.0.0.0\"", "`advertise` is 0.0.0.0: expected an address without a port that players reach"),
        ("admin = \"192.0.2.1:80\"", "`admin` is 192.0.2.1:80: expected a loopback address"),
        ("record = 1", "`record` is 1: expected true or false"),
        ("record = \"true\"", "`record` is \"true\": expected true or false"),
        (
            "store = \"ftp://bucket\"",
            "`store` is ftp://bucket: expected the path of a directory, or s3://bucket/prefix",
        ),
        ("store = \"\"", "`store` is empty: expected the path of a directory"),
        ("log = \"a=b=c\"", "`log` is a=b=c: expected a filter"),
        ("certificate_days = 15", "`certificate_days` is 15: expected a number of days from 1 to 14"),
        ("seat_window_s = 3001", "`seat_window_s` is 3001: expected a number of seconds from 1 to 3000"),
        ("workers = 1\nworkers = 2", "ringside.toml, line 2: duplicate key"),
        ("workers = ", "ringside.toml, line 1:"),
        ("= 3", "ringside.toml, line 1:"),
        ("\u{0}", "ringside.toml, line 1:"),
    ];
    for (text, expected) in table {
        let error = from_toml(text).expect_err(text);
        assert!(error.contains(expected), "{text:?}\n     got: {error}\nexpected: {expected}");
    }
}

#[test]
fn peers_are_at_the_address_of_links_unless_they_are_somewhere() {
    let somewhere = |text| from_toml(text).unwrap().peers();
    assert_eq!(somewhere("links = \"192.0.2.7:7390\""), "192.0.2.7:0".parse().unwrap());
    assert_eq!(somewhere("peers = \"192.0.2.8:7392\""), "192.0.2.8:7392".parse().unwrap());
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = std::env::temp_dir().join(format!("ringside-config-{}.toml", std::process::id()));
    std::fs::write(&file, "workers = 2\nsessions = 20\nrecord = true\n").unwrap();
    let environment = [("RINGSIDE_WORKERS", "3"), ("RINGSIDE_SESSIONS", "30"), ("RINGSIDE_COLOUR", "red")];
    let environment: Vec<_> = environment.map(|(name, value)| (name.to_owned(), value.into())).into();
    let config = Config::load(Some(&file), &environment, &[("workers", "4".into())]).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!((config.workers, config.sessions, config.record), (4, 30, true));
    assert_eq!(unknown_variables(&environment), ["RINGSIDE_COLOUR"]);
}

#[test]
fn a_bad_flag_or_variable_is_named() {
    let variable = [("RINGSIDE_RECORD".to_owned(), "perhaps".into())];
    let error = Config::load(None, &variable, &[]).unwrap_err().to_string();
    assert_eq!(error, "environment variable RINGSIDE_RECORD: `record` is perhaps: expected true or false");
    let error = Config::load(None, &[], &[("seat_window_s", "x".into())]).unwrap_err().to_string();
    assert_eq!(error, "flag --seat-window-s: `seat_window_s` is x: expected a number of seconds from 1 to 3000");
    let missing = Config::load(Some(Path::new("/does/not/exist.toml")), &[], &[]).unwrap_err().to_string();
    assert!(missing.contains("/does/not/exist.toml"), "{missing}");
}

#[test]
fn paths_need_not_be_text_and_everything_else_must() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = || OsString::from_vec(b"a\xffb".to_vec());
    let config = Config::load(None, &[("RINGSIDE_STORE".to_owned(), bytes())], &[("state", bytes())]).unwrap();
    assert_eq!((config.state, config.store), (PathBuf::from(bytes()), Some(Location::Directory(bytes().into()))));
    let error = Config::load(None, &[("RINGSIDE_LISTEN".to_owned(), bytes())], &[]).unwrap_err().to_string();
    assert!(error.contains("RINGSIDE_LISTEN: `listen` is a\u{fffd}b: expected an address"), "{error}");
}
