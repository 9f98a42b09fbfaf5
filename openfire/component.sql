-- Lets a component log in: psql -U openfire -v subdomain=rooms -v secret=… -f openfire/component.sql
-- Its domain is the subdomain of Openfire's. Run it while Openfire is stopped; safe to run again.

delete from ofExtComponentConf where subdomain = :'subdomain';
insert into ofExtComponentConf (subdomain, wildcard, secret, permission)
values (:'subdomain', 0, :'secret', 'allowed');
