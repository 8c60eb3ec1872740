DROP TABLE {{delayed}};
DROP TABLE {{promoted}};
DROP TABLE {{tick}};
DROP TABLE {{schedule}};
