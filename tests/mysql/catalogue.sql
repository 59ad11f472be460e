-- Every kind of object that a MariaDB database can hold.  Run in an empty database.
set names utf8mb4;
set sql_mode = '';
set time_zone = '+00:00';
create sequence `Nummern é` start with 100 increment by 5 cache 10;
create sequence down start with -1 increment by -1 minvalue -1000 maxvalue -1 nocache cycle;
create table plain (
  id int unsigned not null auto_increment primary key,
  number bigint not null default (next value for `Nummern é`),
  name varchar(60) character set utf8mb4 collate utf8mb4_bin not null comment 'it''s "a" name',
  old_name varchar(60) character set latin1 collate latin1_german1_ci,
  wide varchar(20) character set ucs2, wider char(9) character set utf32,
  unique key by_name (name), key by_old (old_name(10) desc)
) auto_increment = 5000 comment 'a table';
insert into plain (name, old_name, wide, wider) values
  ('Ångström "x"', 'Müller', 'Ω≈', '𝄞'), ('back\\slash\ttab\nline', '', '', ''),
  ('Null', null, null, null), ('\\N', '\\N', '\\', '\n');
create table `Every "kind" of` (
  `key` varbinary(20) not null primary key,
  t tinyint, tu tinyint unsigned, s smallint, m mediumint, i int zerofill, b bigint, bu bigint unsigned,
  d decimal(30, 10), f float, g double, bits bit(13), flag bit(1), truth boolean,
  da date, ti time(3), dt datetime(6), ts timestamp(6) null, y year,
  c char(10), v varchar(100), tt tinytext, tx text, mt mediumtext, lt longtext,
  bi binary(8), vb varbinary(30), tb tinyblob, bl blob, mb mediumblob, lb longblob,
  e enum('one', 'zwei, drei', 'it''s', 'ü'), st set('a', 'b', 'ß'), js json,
  u uuid, ip inet6, p point, ge geometry,
  packed text compressed
) row_format = dynamic;
insert into `Every "kind" of` values
  (x'00ff0a095c', -128, 255, -32768, 8388607, 42, -9223372036854775808, 18446744073709551615,
   -12345678901234567890.0123456789, 1.1, 1e-300, b'1010101010101', b'1', true,
   '0000-00-00', '-838:59:59.999', '1000-01-01 00:00:00.000001', '2024-02-29 12:34:56.654321', 2024,
   'pad  ', 'trailing  ', '', 'a\0b\tc\nd\\e', repeat('ü', 1000), repeat('x', 20000),
   x'0001', x'', x'00', x'5c4e', x'090a0d5c', repeat(x'ff00', 5000),
   'it''s', 'a,ß', '{"a": [1, "ü"]}', '123e4567-e89b-12d3-a456-426655440000', '2001:db8::ff00:42:8329',
   point(1.5, -2.25), st_geomfromtext('polygon((0 0, 1 0, 1 1, 0 0))'), repeat('compress me ', 100)),
  (x'01', 0, 0, 0, 0, 0, 0, 0, 0, -0.0, 3.4028234663852886e38, b'0', b'0', false,
   '9999-12-31', '00:00:00', '0000-00-00 00:00:00', '1970-01-01 00:00:01', 1901,
   '', '', '', '', '', '', x'', x'', x'', x'', x'', x'', 'one', '', '[]',
   '00000000-0000-0000-0000-000000000000', '::', point(0, 0), point(0, 0), '');
insert into `Every "kind" of` (`key`) values (x'02');
create table parent (id int primary key, code varchar(10) not null, unique (code)) character set utf8mb3;
create table child (
  id int not null, part char(3) not null, parent int, code varchar(10) character set utf8mb3,
  primary key (part, id),
  constraint `to parent` foreign key (parent) references parent (id) on delete cascade,
  foreign key (code) references parent (code) on update cascade on delete set null
);
insert into parent values (1, 'eins'), (2, 'zwei');
insert into child values (1, 'a', 1, 'eins'), (2, 'b', null, null), (3, 'c', 2, 'zwei');
create table self (id int primary key, up int, foreign key (up) references self (id));
insert into self values (1, null), (2, 1);
create table computed (
  id int primary key, price decimal(10, 2), amount int,
  total decimal(12, 2) as (price * amount) stored, label varchar(30) as (concat('#', id)) virtual,
  hidden int invisible default 7, made timestamp not null default current_timestamp on update current_timestamp,
  check (amount >= 0), constraint named check (price > 0), key (label)
);
insert into computed (id, price, amount, hidden, made) values (1, 9.99, 3, 8, '2020-01-01 00:00:00'), (2, 1, 0, 9, '2020-01-02 00:00:00');
create table found (id int primary key, body text, place point not null, fulltext key words (body), spatial key (place)) engine = InnoDB;
insert into found values (1, 'the quick brown fox', point(1, 2)), (2, 'lazy dog', point(3, 4));
create table parts (id int not null, at date not null, v int, primary key (id, at))
  partition by range (year(at)) subpartition by hash (id) subpartitions 2
  (partition p0 values less than (2020), partition p1 values less than maxvalue);
insert into parts values (1, '2019-05-05', 1), (2, '2024-05-05', 2);
create table no_key (a int, b text);
insert into no_key values (1, 'twice'), (1, 'twice'), (null, null);
create table unique_only (a int not null, b varchar(10) not null, c int, unique key (a, b));
insert into unique_only values (1, 'x', 1), (1, 'y', 2);
create table empty (id int primary key);
create table squeezed (id int primary key, v text) page_compressed = 1;
insert into squeezed values (1, 'v');
create function twice(n int) returns int deterministic return n * 2;
delimiter ;;
create procedure fill(in n int) modifies sql data comment 'fills'
begin
  declare i int default 0;
  while i < n do insert into empty values (i); set i = i + 1; end while;
end;;
create trigger plain_bi before insert on plain for each row
begin
  if new.old_name is null then set new.old_name = 'from trigger'; end if;
end;;
create trigger plain_ai after insert on plain for each row insert into no_key values (new.id, 'logged');;
delimiter ;
create algorithm = merge sql security invoker view numbers as select id, number from plain where id > 0 with cascaded check option;
create view above as select n.id, twice(n.id) as t, p.name from numbers n join plain p using (id);
create event often on schedule every 1 hour starts '2030-01-01 00:00:00' on completion preserve enable comment 'an event' do delete from empty;
create event once_later on schedule at '2037-01-01 00:00:00' do delete from empty;
create event sleeping on schedule every 1 day starts '2030-01-01 00:00:00' disable do delete from empty;
set sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT';
create function "ansi"() returns varchar(20) deterministic return 'a' || 'b';
create view "of columns" as select name || '!' as "loud" from plain;
set sql_mode = '';
