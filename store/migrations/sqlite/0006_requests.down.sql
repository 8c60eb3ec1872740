DROP TABLE {{request}};
DROP TABLE {{request_place}};
DROP TABLE {{answer}};
