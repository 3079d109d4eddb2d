/** Of the package, as in package.json. Plans that were measured under another version are not believed. */
export const VERSION = '0.1.0';
