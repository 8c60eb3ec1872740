-- serves: 1
-- Requests and replies between processes, and the answers that are kept for requests that come again. Times are microseconds since 1970.

-- What waits for who listens at an address. A row is read once, and removed by that.
CREATE TABLE {{request}} (
  n          bigint         NOT NULL AUTO_INCREMENT,
  address    varbinary(300) NOT NULL,
  head       mediumblob     NOT NULL,
  body       longblob,
  sent_at    bigint         NOT NULL,
  expires_at bigint         NOT NULL,
  PRIMARY KEY (n),
  KEY {{bare request_address}} (address, n),
  KEY {{bare request_expires}} (expires_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Who listens where. A place is a caller's port or a responder's ear, and is there until its time.
CREATE TABLE {{request_place}} (
  place   varbinary(300) NOT NULL,
  address varbinary(300) NOT NULL,
  until   bigint         NOT NULL,
  PRIMARY KEY (place, address),
  KEY {{bare request_place_address}} (address)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Answers. message is the first 16 bytes of SHA-256 over type, NUL, issuer, NUL and id, digest those over the body. Without a
-- content type the answer is being made.
CREATE TABLE {{answer}} (
  message      varbinary(16)  NOT NULL,
  digest       varbinary(16)  NOT NULL,
  content_type varbinary(255) NOT NULL,
  body         longblob,
  at           bigint         NOT NULL,
  PRIMARY KEY (message),
  KEY {{bare answer_at}} (at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
