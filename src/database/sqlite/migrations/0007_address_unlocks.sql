CREATE TABLE `address_unlocks` (
	`network` text PRIMARY KEY NOT NULL,
	`unlocked_at` integer NOT NULL
);
