INSERT INTO `roles` (`name`, `description`) VALUES ('admin', 'May do everything.');
