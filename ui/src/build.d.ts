/** Whether this is built for a page that holds its journal itself: the build says so, and leaves out what is not used. */
declare const IN_FILE: boolean;
