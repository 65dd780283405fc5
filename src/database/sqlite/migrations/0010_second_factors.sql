CREATE TABLE `second_factors` (
	`user_id` integer PRIMARY KEY NOT NULL,
	`sealed_secret` text NOT NULL,
	`last_step` integer NOT NULL,
	FOREIGN KEY (`user_id`) REFERENCES `users`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
ALTER TABLE `tokens` ADD `logged_in_at` integer;--> statement-breakpoint
ALTER TABLE `tokens` ADD `renewed_at` integer;--> statement-breakpoint
ALTER TABLE `users` ADD `second_factor_at` integer;