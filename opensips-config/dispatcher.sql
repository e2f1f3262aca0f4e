-- The two nodes of dispatcher.cfg.
insert into dispatcher (setid, destination, weight) values (1, 'sip:192.0.2.21:5060', '50');
insert into dispatcher (setid, destination, weight) values (1, 'sip:192.0.2.22:5060', '50');
