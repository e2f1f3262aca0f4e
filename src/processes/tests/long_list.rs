//! A request whose list another process reads.

use super::*;
use crate::shared::LongLists;

/// Some 30 kB.
const RECIPIENTS: usize = 600;

fn service_for(max_recipients: usize) -> Rc<ControllingFunction> {
    let service = service(&[("max_recipients", &max_recipients.to_string())]);
    let waiting = Box::leak(Box::new(AtomicU64::new(0)));
    let service = Rc::into_inner(service).expect("it is the only one");
    Rc::new(service.with_long_lists(LongLists::new(waiting)))
}

fn handle_long(service: &Rc<ControllingFunction>, stage: &Stage) {
    let recipients: Vec<String> = (0..RECIPIENTS)
        .map(|n| format!("sip:recipient{n}@192.0.2.2"))
        .collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    assert_eq!(handle(service, stage, &recipients), Script::Yes);
}

fn fan_out(service: &Rc<ControllingFunction>) -> FanOutProcess {
    FanOutProcess::start(service, KeptGauges(&[]), None).unwrap()
}

/// Takes what has been posted, and works until there is nothing more to do.
fn work_off(process: &mut FanOutProcess, service: &Rc<ControllingFunction>, stage: &Stage) {
    loop {
        take_all(process, service, stage);
        let wanted = process.work(service, stage);
        if stage.posted.borrow().is_empty() && wanted != 0 {
            return;
        }
    }
}

/// What CPM fan-out does with what has been posted.
fn finished(service: &Rc<ControllingFunction>, stage: &Stage) -> Vec<String> {
    work_off(&mut fan_out(service), service, stage);
    stage.done()
}

fn count(done: &[String], what: &str) -> usize {
    done.iter().filter(|line| line.starts_with(what)).count()
}

#[test]
fn a_long_list_is_read_by_the_fan_out_process_which_replies() {
    let (service, stage) = (service_for(RECIPIENTS), Stage::new());
    handle_long(&service, &stage);
    assert_eq!(stage.done(), ["keep 1 open for 30000"]);
    let done = finished(&service, &stage);
    assert_eq!(count(&done, "MESSAGE"), RECIPIENTS);
    assert_eq!(count(&done, "202 in 1"), 1);
}

#[test]
fn it_is_refused_there_as_well() {
    let (service, stage) = (service_for(RECIPIENTS - 1), Stage::new());
    handle_long(&service, &stage);
    let done = finished(&service, &stage);
    assert_eq!(done, ["keep 1 open for 30000", "486 in 1"]);
}

/// It reads one at a time: in between the copies of others go on.
#[test]
fn no_second_list_is_taken_before_other_work() {
    let (service, stage) = (service_for(RECIPIENTS), Stage::new());
    handle_long(&service, &stage);
    let mut process = fan_out(&service);
    assert!(process.takes());
    take_all(&mut process, &service, &stage);
    assert!(!process.takes());
    process.work(&service, &stage);
    assert!(process.takes());
}

#[test]
fn what_waited_too_long_gets_an_error() {
    let (service, stage) = (service_for(RECIPIENTS), Stage::new());
    handle_long(&service, &stage);
    stage.pass_us(25_000_000);
    let done = finished(&service, &stage);
    assert_eq!(done, ["keep 1 open for 30000", "500 in 1"]);
}

/// The operator's script may wait for something; and a queue may be full.
#[test]
fn it_is_read_by_the_worker_where_the_script_has_a_say_or_nobody_takes_it() {
    let (service, stage) = (service_for(RECIPIENTS), Stage::new());
    stage.wanted.borrow_mut().push(Event::Checked);
    handle_long(&service, &stage);
    assert_eq!(
        stage.done(),
        ["asked checked", "keep 1 open for 30000"],
        "the rest of the fan-out is handed over"
    );
    let stage = Stage::new();
    stage.refuses.set(true);
    handle_long(&service, &stage);
    let done = stage.done();
    assert_eq!(count(&done, "MESSAGE"), RECIPIENTS);
    assert_eq!(count(&done, "202 in 1"), 1);
}

/// Who sends many costly lists must not keep the only process that reads them busy.
#[test]
fn a_worker_reads_its_list_where_too_many_wait() {
    let (service, stage) = (service_for(RECIPIENTS - 1), Stage::new());
    for _ in 0..4 {
        handle_long(&service, &stage);
    }
    assert_eq!(count(&stage.done(), "486"), 0);
    handle_long(&service, &stage);
    assert_eq!(stage.done(), ["486 in 1"], "by the worker");
    assert_eq!(count(&finished(&service, &stage), "486"), 4);
    handle_long(&service, &stage);
    assert_eq!(stage.done(), ["keep 1 open for 30000"]);
}

/// A panic loses only the request whose list is being read.
#[test]
fn a_panic_amid_a_list_is_answered() {
    let (service, stage) = (service_for(RECIPIENTS), Stage::new());
    let mut process = fan_out(&service);
    process.be_finishing(TransactionKey(7));
    process.handle_panic(&stage);
    process.handle_panic(&stage);
    assert_eq!(stage.done(), ["500 in 7"]);
}
