DROP TABLE {{lease}};
DROP TABLE {{node}};
DROP TABLE {{parked}};
DROP TABLE {{inbox}};
DROP TABLE {{delivered}};
DROP TABLE {{published}};
DROP TABLE {{local}};
DROP TABLE {{outbox}};
